//! Makes [`Settings`] of merged values and collects every error.

use super::error::{ConfigErrors, masked};
use super::keys::{Key, SPECS};
use super::parse;
use super::settings::{ApiAddress, Device, EffectiveValue, Settings, SupervisorAccess};
use super::source::Source;
use super::values::Values;
use crate::proxy::ProxyChoice;
use crate::vault::Endpoint;
use baseos_interfaces::desired::DEFAULT_AGENT_SERVICE;
use baseos_interfaces::token::{Token, TokenKind};
use std::path::PathBuf;
use std::time::Duration;

/// Name of the default socket in the run directory.
const SOCKET: &str = "api.sock";

pub(super) fn settings(mut values: Values, warnings: Vec<String>) -> Result<Settings, ConfigErrors> {
    let state_dir = values.parse(Key::StateDir, parse::directory);
    let run_dir = values.parse(Key::RunDir, parse::directory).unwrap_or_default();
    let service = values
        .parse_soft(Key::Service, parse::service)
        .or_else(|| values.parse_soft(Key::ServiceName, parse::service));
    let api = values.parse_soft(Key::AgentUrl, parse::api_address);
    let log_format = values.parse_soft(Key::LogFormat, parse::log_format);
    let settings = Settings {
        cloudly: endpoint(&mut values),
        proxy: proxy(&mut values),
        join: values
            .raw(Key::JoinToken)
            .map(|(text, _)| Token::parse(TokenKind::Join, text).map_err(|error| error.to_string())),
        state_dir: state_dir.unwrap_or_default(),
        lock_dir: path(&values, Key::LockDir),
        node_name: values.parse_soft(Key::NodeName, parse::node_name),
        labels: values.parse_soft(Key::Labels, parse::labels).unwrap_or_default(),
        service: service.unwrap_or_else(|| DEFAULT_AGENT_SERVICE.to_owned()),
        log: values.parse_soft(Key::Log, parse::log_filter).unwrap_or_default(),
        log_format: log_format.unwrap_or_default(),
        api: api.unwrap_or_else(|| ApiAddress::Unix(run_dir.join(SOCKET))),
        run_dir,
        api_hosts: values.parse_soft(Key::ApiHosts, parse::hosts).unwrap_or_default(),
        supervisor_poll: values
            .parse_soft(Key::SupervisorPoll, parse::poll_period)
            .unwrap_or(Duration::MAX),
        reserve_bytes: values
            .parse_soft(Key::ReserveBytes, parse::bytes)
            .unwrap_or_default(),
        journal_bytes: values
            .parse_soft(Key::JournalBytes, parse::journal_bytes)
            .unwrap_or_default(),
        guard_budget: values
            .parse_soft(Key::GuardBudget, parse::guard_budget)
            .unwrap_or_default(),
        supervisor: supervisor(&mut values),
        app_id: values.parse_soft(Key::AppId, parse::app_id),
        device: device(&values),
        runtime: values.text(Key::Runtime),
        warnings,
        problems: Vec::new(),
        effective: Vec::new(),
    };
    if !values.errors.is_empty() {
        let all = values.errors.into_iter().chain(values.problems);
        return Err(ConfigErrors(all.collect()));
    }
    let effective = effective(&values, &settings);
    let unset = values
        .problems
        .iter()
        .map(|problem| format!("{problem}; it counts as not set"));
    let warnings = warnings_of(&values, &settings)
        .chain(settings.warnings.clone())
        .chain(unset)
        .collect();
    Ok(Settings {
        effective,
        warnings,
        problems: values.problems,
        ..settings
    })
}

fn path(values: &Values, key: Key) -> PathBuf {
    values
        .raw(key)
        .map(|(text, _)| PathBuf::from(text))
        .unwrap_or_default()
}

fn endpoint(values: &mut Values) -> Option<Endpoint> {
    let allow_http = values.parse(Key::AllowHttp, parse::boolean);
    // An invalid value allows http, so that it causes no second error for the URL.
    let url = values.parse(Key::CloudlyUrl, |text| {
        parse::cloudly_url(text, allow_http.unwrap_or(true))
    });
    let ca_pem = values.parse(Key::CloudlyCa, parse::certificates);
    Some(Endpoint {
        url: url?,
        ca_pem,
        allow_http: allow_http.unwrap_or_default(),
    })
}

fn proxy(values: &mut Values) -> Option<ProxyChoice> {
    let bypass = values.parse_soft(Key::NoProxy, parse::bypass).unwrap_or_default();
    match values.parse_soft(Key::Proxy, parse::proxy)? {
        ProxyChoice::Fixed(proxy) => Some(ProxyChoice::Fixed(Box::new(proxy.with_bypass(bypass)))),
        other => Some(other),
    }
}

fn supervisor(values: &mut Values) -> Option<SupervisorAccess> {
    let address = values.parse_soft(Key::SupervisorAddress, parse::supervisor_address);
    let api_key = values.text(Key::SupervisorApiKey);
    Some(SupervisorAccess {
        address: address?,
        api_key: api_key?.into(),
    })
}

fn device(values: &Values) -> Device {
    let os = values.text(Key::HostOsVersion);
    let (os_name, os_version) = match os.as_deref().and_then(|os| os.split_once(' ')) {
        Some((name, version)) => (Some(name.to_owned()), Some(version.trim().to_owned())),
        None => (None, os),
    };
    Device {
        uuid: values.text(Key::DeviceUuid),
        kind: values.text(Key::DeviceType),
        architecture: values.text(Key::DeviceArch),
        os_name,
        os_version,
    }
}

/// Combinations that are allowed but probably a mistake.
fn warnings_of(values: &Values, settings: &Settings) -> impl Iterator<Item = String> {
    let url_missing = settings.cloudly.is_none() && values.raw(Key::CloudlyCa).is_some();
    let bypass_unused =
        values.raw(Key::NoProxy).is_some() && !matches!(settings.proxy, Some(ProxyChoice::Fixed(_)));
    let exposed = matches!(&settings.api, ApiAddress::Tcp(address) if !address.ip().is_loopback());
    let plain_http = settings
        .cloudly
        .as_ref()
        .is_some_and(|cloudly| cloudly.url.starts_with("http:"));
    [
        url_missing.then(|| "BASEOS_CLOUDLY_CA is set without BASEOS_CLOUDLY_URL and is not used".to_owned()),
        bypass_unused.then(|| "BASEOS_NO_PROXY is set without BASEOS_PROXY and is not used".to_owned()),
        exposed.then(|| "the local API listens beyond this host (BASEOS_AGENT_URL)".to_owned()),
        plain_http.then(|| "Cloudly is called over plain http: tokens can be read on the way".to_owned()),
    ]
    .into_iter()
    .flatten()
}

fn effective(values: &Values, settings: &Settings) -> Vec<EffectiveValue> {
    SPECS
        .iter()
        .map(|spec| {
            let row = |value, source| EffectiveValue {
                key: spec.env,
                value: Some(value),
                source: Some(source),
            };
            match (values.raw(spec.key), spec.key, &settings.api) {
                (Some((value, source)), ..) => row(masked(spec, value), source.clone()),
                (None, Key::Service, _) => {
                    let source = values
                        .raw(Key::ServiceName)
                        .map_or(Source::Default, |(_, source)| source.clone());
                    row(masked(spec, &settings.service), source)
                }
                (None, Key::AgentUrl, ApiAddress::Unix(path)) => row(
                    masked(spec, &format!("unix://{}", path.display())),
                    Source::Default,
                ),
                (None, ..) => EffectiveValue {
                    key: spec.env,
                    value: None,
                    source: None,
                },
            }
        })
        .collect()
}
