//! From texts to settings: each value read once, everything wrong noted, nothing shown.

use super::ConfigErrors;
use super::error::shown;
use super::keys::{Key, SPECS};
use super::layer::{Source, Values};
use super::read;
use super::settings::{ApiAddress, Device, Row, Settings, SupervisorAccess};
use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenKind};
use std::path::PathBuf;
use std::time::Duration;

/// The socket's name in the run directory.
const SOCKET: &str = "api.sock";

/// Makes settings of merged values.
pub(super) fn settings(mut values: Values, warnings: Vec<String>) -> Result<Settings, ConfigErrors> {
    let run_dir = path(&values, Key::RunDir);
    let service = values
        .read(Key::Service, read::service)
        .or_else(|| values.read(Key::ServiceName, read::service));
    let api = values.read(Key::AgentUrl, read::api_address);
    let log_format = values.read(Key::LogFormat, read::log_format);
    let settings = Settings {
        cloudly: endpoint(&mut values),
        join: values
            .raw(Key::JoinToken)
            .map(|(text, _)| Token::parse(TokenKind::Join, text).map_err(|error| error.to_string())),
        state_dir: path(&values, Key::StateDir),
        lock_dir: path(&values, Key::LockDir),
        node_name: values.read(Key::NodeName, read::node_name),
        labels: values.read(Key::Labels, read::labels).unwrap_or_default(),
        service: service.unwrap_or_else(|| "baserunner".to_owned()),
        log: values.read(Key::Log, read::log_filter).unwrap_or_default(),
        log_format: log_format.unwrap_or_default(),
        api: api.unwrap_or_else(|| ApiAddress::Unix(run_dir.join(SOCKET))),
        run_dir,
        api_hosts: values.read(Key::ApiHosts, read::hosts).unwrap_or_default(),
        supervisor_poll: values
            .read(Key::SupervisorPoll, read::poll_period)
            .unwrap_or(Duration::MAX),
        reserve_bytes: values.read(Key::ReserveBytes, read::bytes).unwrap_or_default(),
        journal_bytes: values
            .read(Key::JournalBytes, read::journal_bytes)
            .unwrap_or_default(),
        supervisor: supervisor(&mut values),
        app_id: values.read(Key::AppId, read::app_id),
        device: device(&values),
        runtime: values.text(Key::Runtime),
        warnings,
        rows: Vec::new(),
    };
    if !values.errors.is_empty() {
        return Err(ConfigErrors(values.errors));
    }
    let rows = rows(&values, &settings);
    let warnings = odd(&values, &settings).chain(settings.warnings.clone()).collect();
    Ok(Settings {
        rows,
        warnings,
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
    let allow_http = values.read(Key::AllowHttp, read::truth);
    // When that is wrong, only that is said, not what follows from it.
    let url = values.read(Key::CloudlyUrl, |text| {
        read::cloudly_url(text, allow_http.unwrap_or(true))
    });
    let ca_pem = values.read(Key::CloudlyCa, read::certificates);
    Some(Endpoint {
        url: url?,
        ca_pem,
        allow_http: allow_http.unwrap_or_default(),
    })
}

fn supervisor(values: &mut Values) -> Option<SupervisorAccess> {
    let address = values.read(Key::SupervisorAddress, read::supervisor_address);
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

/// What is allowed and still worth a line in the log.
fn odd(values: &Values, settings: &Settings) -> impl Iterator<Item = String> {
    let url_missing = settings.cloudly.is_none() && values.raw(Key::CloudlyCa).is_some();
    let exposed = matches!(&settings.api, ApiAddress::Tcp(address) if !address.ip().is_loopback());
    let clear = settings
        .cloudly
        .as_ref()
        .is_some_and(|cloudly| cloudly.url.starts_with("http:"));
    [
        url_missing.then(|| "BASEOS_CLOUDLY_CA is set without BASEOS_CLOUDLY_URL and is not used".to_owned()),
        exposed.then(|| "the local API listens beyond this host (BASEOS_AGENT_URL)".to_owned()),
        clear.then(|| "Cloudly is called over plain http: tokens can be read on the way".to_owned()),
    ]
    .into_iter()
    .flatten()
}

fn rows(values: &Values, settings: &Settings) -> Vec<Row> {
    SPECS
        .iter()
        .map(|spec| {
            let row = |value, source| Row {
                key: spec.env,
                value: Some(value),
                source: Some(source),
            };
            match (values.raw(spec.key), spec.key, &settings.api) {
                (Some((value, source)), ..) => row(shown(spec, value), source.clone()),
                (None, Key::Service, _) => {
                    let given = values
                        .raw(Key::ServiceName)
                        .map_or(Source::Default, |(_, source)| source.clone());
                    row(settings.service.clone(), given)
                }
                (None, Key::AgentUrl, ApiAddress::Unix(path)) => {
                    row(format!("unix://{}", path.display()), Source::Default)
                }
                (None, ..) => Row {
                    key: spec.env,
                    value: None,
                    source: None,
                },
            }
        })
        .collect()
}
