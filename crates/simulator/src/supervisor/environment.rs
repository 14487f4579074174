//! The environment of a container, in the order of u04-get-target.

use crate::supervisor::config::Config;
use crate::supervisor::container::Container;
use crate::supervisor::model::Supervisor;
use crate::supervisor::target::ServiceConfig;
use crate::text::hex;

/// The label that gives a container the Supervisor's address and key.
pub(crate) const SUPERVISOR_API: &str = "io.balena.features.supervisor-api";

/// A service's own API key: one for each app and service, kept over updates.
pub(crate) fn api_key(config: &Config, app_id: u64, service: &str) -> String {
    let mut key = hex(&format!("{} key {app_id} {service}", config.api_key));
    key.truncate(32);
    key
}

pub(crate) fn of_container(supervisor: &Supervisor, container: &Container) -> Vec<(String, String)> {
    let name = app_name(supervisor, container.app_id);
    let config = &supervisor.config;
    let mut all = of_service(
        config,
        container.app_id,
        &container.app_uuid,
        &name,
        &container.service,
        &container.config,
    );
    for prefix in ["RESIN", "BALENA"] {
        all.push((format!("{prefix}_DEVICE_NAME_AT_INIT"), supervisor.name.clone()));
    }
    all
}

fn app_name(supervisor: &Supervisor, app_id: u64) -> String {
    let app = supervisor.target.apps.iter().find(|app| app.id == app_id);
    app.map(|app| app.name.clone()).unwrap_or_default()
}

pub(crate) fn of_service(
    config: &Config,
    app_id: u64,
    app_uuid: &str,
    app_name: &str,
    service: &str,
    spec: &ServiceConfig,
) -> Vec<(String, String)> {
    let mut all = spec.environment.clone();
    let mut add = |name: &str, value: &str| {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.to_owned(), value.to_owned()));
        }
    };
    for prefix in ["BALENA", "RESIN"] {
        let values = [
            ("APP_ID", app_id.to_string()),
            ("APP_UUID", app_uuid.to_owned()),
            ("APP_NAME", app_name.to_owned()),
            ("SERVICE_NAME", service.to_owned()),
            ("DEVICE_UUID", config.device_uuid.clone()),
            ("DEVICE_TYPE", config.device_type.clone()),
            ("DEVICE_ARCH", config.arch.clone()),
            ("HOST_OS_VERSION", config.os_version.clone()),
            ("APP_LOCK_PATH", "/tmp/balena/updates.lock".to_owned()),
        ];
        for (name, value) in values {
            add(&format!("{prefix}_{name}"), &value);
        }
        add(prefix, "1");
    }
    add("RESIN_SERVICE_KILL_ME_PATH", "/tmp/balena/handover-complete");
    add(
        "BALENA_SERVICE_HANDOVER_COMPLETE_PATH",
        "/tmp/balena/handover-complete",
    );
    add("USER", "root");
    add(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    let feature = |name: &str| {
        spec.label(name)
            .is_some_and(|value| value == "1" || value == "true")
    };
    if feature("io.balena.features.balena-socket") {
        add("DOCKER_HOST", "unix:///host/run/balena-engine.sock");
    }
    if feature("io.balena.features.balena-api") {
        // Set, but empty without a backend (u04-get-target).
        for name in [
            "RESIN_API_KEY",
            "BALENA_API_KEY",
            "RESIN_API_URL",
            "BALENA_API_URL",
        ] {
            add(name, "");
        }
    }
    if feature(SUPERVISOR_API) {
        let host = config
            .address
            .trim_start_matches("http://")
            .split(':')
            .next()
            .unwrap_or_default();
        let values = [
            ("API_KEY", api_key(config, app_id, service)),
            ("PORT", config.api_port.to_string()),
            ("HOST", host.to_owned()),
            ("ADDRESS", config.address.clone()),
        ];
        for (name, value) in values {
            for prefix in ["RESIN", "BALENA"] {
                add(&format!("{prefix}_SUPERVISOR_{name}"), &value);
            }
        }
    }
    all
}
