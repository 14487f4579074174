//! The parsers of single values. Their error is what is expected instead.

use super::settings::ApiAddress;
use crate::proxy::{Proxy, ProxyChoice};
use crate::telemetry::logs::{LogFilter, LogFormat};
use baseos_interfaces::collect::CollectTree as _;
use humantime_serde::re::humantime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const CA_MAX_BYTES: u64 = 1024 * 1024;
const LABELS_MAX: usize = 64;
const JOURNAL_MIN_BYTES: u64 = 64 * 1024;
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(3600);
const BUDGET_MIN: Duration = Duration::from_secs(2);
const BUDGET_MAX: Duration = Duration::from_secs(3600);

type Parsed<T> = Result<T, String>;

fn require<T>(value: Option<T>, expected: &str) -> Parsed<T> {
    value.ok_or_else(|| expected.to_owned())
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("should be 1 or 0".to_owned()),
    }
}

/// A base URL without user, password, query and fragment; a trailing slash is removed.
fn base_url(text: &str, schemes: &[&str]) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let valid = plain && url.has_host() && schemes.contains(&url.scheme());
    valid.then(|| url.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn cloudly_url(text: &str, allow_http: bool) -> Parsed<String> {
    let expected =
        "should be the address of Cloudly, like https://cloudly.example.com, without user, password or query";
    let url = require(base_url(text, &["https", "http"]), expected)?;
    if url.starts_with("http:") && !allow_http {
        return Err(
            "should begin with https:// (for development, BASEOS_ALLOW_HTTP=1 allows http)".to_owned(),
        );
    }
    Ok(url)
}

/// A directory, which need not exist yet.
pub(super) fn directory(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    match std::fs::metadata(&path) {
        Ok(found) if !found.is_dir() => Err("should be a directory, and there is a file".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err("should be a directory, and a part of it is a file".to_owned())
        }
        // What else is wrong is told where it is used: the agent makes directories that are missing.
        Ok(_) | Err(_) => Ok(path),
    }
}

pub(super) fn proxy(text: &str) -> Parsed<ProxyChoice> {
    if text.eq_ignore_ascii_case("direct") {
        return Ok(ProxyChoice::Direct);
    }
    let proxy = Proxy::parse(text)?;
    Ok(ProxyChoice::Fixed(Box::new(proxy)))
}

/// Names, addresses and networks that are called without the proxy.
pub(super) fn bypass(text: &str) -> Parsed<Vec<String>> {
    let items: Vec<String> = list(text).map(str::to_owned).collect();
    let is_item = |item: &String| {
        item.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '*'))
            && (!item.contains('/') || is_network(item))
    };
    let expected = "should be host names, addresses or networks separated by commas, like \
                    internal.example,10.0.0.0/8";
    require(
        (!items.is_empty() && items.iter().all(is_item)).then_some(items),
        expected,
    )
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

pub(super) fn supervisor_address(text: &str) -> Parsed<String> {
    require(
        base_url(text, &["http", "https"]),
        "should be the Supervisor's address, like http://10.114.104.1:48484",
    )
}

/// Certificates as PEM, or the path of a file of them.
pub(super) fn certificates(text: &str) -> Parsed<String> {
    let pem = if text.contains("-----BEGIN") {
        text.to_owned()
    } else {
        let mut pem = String::new();
        let read = File::open(text).and_then(|file| file.take(CA_MAX_BYTES).read_to_string(&mut pem));
        read.map_err(|error| {
            format!("should be certificates (PEM) or a file with them; it cannot be read: {error}")
        })?;
        pem
    };
    if pem.contains("PRIVATE KEY-----") {
        return Err("holds a private key, which does not belong here; only certificates do".to_owned());
    }
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    match certificates.try_fold(0, |count, certificate| certificate.map(|_| count + 1)) {
        Ok(1..) => Ok(pem),
        Ok(_) => Err("holds no certificate; it should begin with -----BEGIN CERTIFICATE-----".to_owned()),
        Err(_) => Err("holds a certificate that is not PEM: was it copied whole?".to_owned()),
    }
}

pub(super) fn api_address(text: &str) -> Parsed<ApiAddress> {
    let expected = "should be unix:///path/to/api.sock or http://127.0.0.1:port";
    if let Some(path) = text.strip_prefix("unix://") {
        let path = PathBuf::from(path);
        return require(
            (path.is_absolute() && path.file_name().is_some()).then_some(ApiAddress::Unix(path)),
            expected,
        );
    }
    let address = text
        .strip_prefix("http://")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let address = address.and_then(|address| match address.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => address.parse().ok(),
    });
    require(address.map(ApiAddress::Tcp), expected)
}

/// Names allowed in a `Host` header.
pub(super) fn hosts(text: &str) -> Parsed<Vec<String>> {
    let hosts: Vec<String> = list(text).map(str::to_ascii_lowercase).collect();
    let is_host = |host: &String| {
        host.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let expected = "should be host names without ports, separated by commas";
    require(
        (!hosts.is_empty() && hosts.iter().all(is_host)).then_some(hosts),
        expected,
    )
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn node_name(text: &str) -> Parsed<String> {
    let valid = text.chars().count() <= 128 && !text.chars().any(char::is_control);
    require(
        valid.then(|| text.to_owned()),
        "should be a name of at most 128 characters in one line",
    )
}

pub(super) fn labels(text: &str) -> Parsed<BTreeMap<String, String>> {
    let is_key = |key: &str| {
        (1..=63).contains(&key.len())
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'))
    };
    let is_value = |value: &str| value.chars().count() <= 255 && !value.chars().any(char::is_control);
    let label = |item: &str| {
        let (key, value) = item.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        (is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned()))
    };
    let expected = "should be key=value pairs separated by commas: at most 64; keys of letters, digits and ._-/, up to 63; \
                 values without commas, up to 255 characters";
    let items = list(text).map(|item| require(label(item), expected));
    let labels: BTreeMap<_, _> = items.try_collect_tree()?;
    require(Some(labels).filter(|labels| labels.len() <= LABELS_MAX), expected)
}

/// The name of a service in a release.
pub(super) fn service(text: &str) -> Parsed<String> {
    let valid = text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    require(
        valid.then(|| text.to_owned()),
        "should be a service's name: letters, digits and ._-",
    )
}

pub(super) fn log_filter(text: &str) -> Parsed<LogFilter> {
    text.parse().map_err(|_| {
        "should be a level (error, warn, info, debug, trace, off) or target=level pairs separated by commas"
            .to_owned()
    })
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    text.parse().map_err(|_| "should be text or json".to_owned())
}

pub(super) fn poll_period(text: &str) -> Parsed<Duration> {
    let period = humantime::parse_duration(text)
        .ok()
        .filter(|period| (POLL_MIN..=POLL_MAX).contains(period));
    require(
        period,
        "should be a time with its unit from 100ms to 1h, like 30s",
    )
}

pub(super) fn guard_budget(text: &str) -> Parsed<Duration> {
    let budget = humantime::parse_duration(text)
        .ok()
        .filter(|budget| (BUDGET_MIN..=BUDGET_MAX).contains(budget));
    require(budget, "should be a time with its unit from 2s to 1h, like 10m")
}

/// A size in bytes.
pub(super) fn bytes(text: &str) -> Parsed<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" | "k" => Some(1 << 10),
        "mib" | "m" => Some(1 << 20),
        "gib" | "g" => Some(1 << 30),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        _ => None,
    };
    let size = number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor));
    require(size, "should be a size in bytes or with a unit, like 64MiB")
}

pub(super) fn journal_bytes(text: &str) -> Parsed<u64> {
    let size = bytes(text)?;
    require(
        (size >= JOURNAL_MIN_BYTES).then_some(size),
        "should be a size of at least 64KiB, like 1MiB",
    )
}

/// The app's numeric id in balena.
pub(super) fn app_id(text: &str) -> Parsed<u64> {
    require(
        text.parse().ok().filter(|id| *id > 0),
        "should be the app's number, as the Supervisor gives it",
    )
}
