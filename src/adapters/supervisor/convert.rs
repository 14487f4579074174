//! The Supervisor's present target as a release that can be posted.
//!
//! What `GET /v2/local/target-state` returns cannot be posted back (u04-post-back): it is the form in which the
//! Supervisor compares, with defaults filled in, names prefixed and much added. This undoes that, and gives up where
//! something would be lost: a release made of it is the same target when it is posted again (source: `service.ts`,
//! `utils.ts`, `volume.ts`; u04-get-target).

use super::wire::{App, Network, Service, Volume};
use crate::lifecycle::facts::{PresentRelease, PresentService};
use baseos_interfaces::collect::CollectTree as _;
use baseos_interfaces::token::TokenKind;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Variables that the Supervisor sets, with `BALENA_` or `RESIN_` before them.
const SET_VARIABLES: [&str; 18] = [
    "APP_ID",
    "APP_UUID",
    "APP_NAME",
    "SERVICE_NAME",
    "DEVICE_UUID",
    "DEVICE_TYPE",
    "DEVICE_ARCH",
    "HOST_OS_VERSION",
    "APP_LOCK_PATH",
    "DEVICE_NAME_AT_INIT",
    "SERVICE_KILL_ME_PATH",
    "SERVICE_HANDOVER_COMPLETE_PATH",
    "API_KEY",
    "API_URL",
    "SUPERVISOR_API_KEY",
    "SUPERVISOR_PORT",
    "SUPERVISOR_HOST",
    "SUPERVISOR_ADDRESS",
];
/// Spent once the node is enrolled, and a secret.
const JOIN_TOKEN: &str = "BASEOS_JOIN_TOKEN";
/// Labels that the Supervisor sets, with `io.balena.` before them.
const SET_LABELS: [&str; 5] = ["supervised", "app-id", "service-id", "service-name", "app-uuid"];
/// Feature labels that add mounts of host paths, with `io.balena.features.` before them.
const MOUNTING: [&str; 7] = [
    "journal-logs",
    "dbus",
    "kernel-modules",
    "firmware",
    "balena-socket",
    "sysfs",
    "procfs",
];
/// The compose key of each member that is posted as it is returned.
const SAME: [(&str, &str); 31] = [
    ("command", "command"),
    ("entrypoint", "entrypoint"),
    ("stopSignal", "stop_signal"),
    ("workingDir", "working_dir"),
    ("user", "user"),
    ("capAdd", "cap_add"),
    ("capDrop", "cap_drop"),
    ("cgroupParent", "cgroup_parent"),
    ("dns", "dns"),
    ("dnsOpt", "dns_opt"),
    ("dnsSearch", "dns_search"),
    ("extraHosts", "extra_hosts"),
    ("groupAdd", "group_add"),
    ("securityOpt", "security_opt"),
    ("tmpfs", "tmpfs"),
    ("sysctls", "sysctls"),
    ("ulimits", "ulimits"),
    ("pid", "pid"),
    ("pidsLimit", "pids_limit"),
    ("usernsMode", "userns_mode"),
    ("cpuShares", "cpu_shares"),
    ("cpuQuota", "cpu_quota"),
    ("cpuset", "cpuset"),
    ("domainname", "domainname"),
    ("hostname", "hostname"),
    ("macAddress", "mac_address"),
    ("memLimit", "mem_limit"),
    ("memReservation", "mem_reservation"),
    ("oomScoreAdj", "oom_score_adj"),
    ("storageOpt", "storage_opt"),
    ("runtime", "runtime"),
];
/// Members that say something even when they are empty: what is not posted comes from the image.
const NEVER_LEFT_OUT: [&str; 4] = ["command", "entrypoint", "workingDir", "user"];

/// # Errors
/// What cannot be written in a release, as part of a sentence. It repeats names, and no value of an environment.
pub(super) fn present_release(app_id: u64, app: &App) -> Result<PresentRelease, String> {
    let services = app.services.iter().map(|service| -> Result<_, String> {
        let name = service.service_name.clone();
        let present = present_service(app_id, service).map_err(|why| format!("service `{name}`: {why}"))?;
        Ok((name, present))
    });
    let networks = app
        .networks
        .iter()
        .filter_map(|network| match own_network(network) {
            Ok(true) => Some(Ok((network.name.clone(), Map::new()))),
            Ok(false) => None,
            Err(why) => Some(Err(why)),
        });
    Ok(PresentRelease {
        services: services.try_collect_tree()?,
        volumes: app
            .volumes
            .iter()
            .map(|volume| (volume.name.clone(), volume_definition(volume)))
            .collect_tree(),
        networks: networks.try_collect_tree()?,
    })
}

fn present_service(app_id: u64, service: &Service) -> Result<PresentService, String> {
    let config = &service.config;
    let labels = texts(config, "labels")?;
    let labels: BTreeMap<_, _> = labels
        .into_iter()
        .filter(|(name, _)| !is_set(name, "io.balena.", &SET_LABELS))
        .collect_tree();
    let image = service.image_name.clone().unwrap_or_default();
    if image.is_empty() {
        return Err("its image has no name".to_owned());
    }
    let mut composition = Map::new();
    for (key, value) in config {
        member(app_id, service, key, value, &labels, &mut composition)?;
    }
    if !service.depends_on.is_empty() {
        composition.insert("depends_on".to_owned(), json!(service.depends_on));
    }
    Ok(PresentService {
        image,
        environment: environment(texts(config, "environment")?)?,
        labels,
        composition,
    })
}

fn environment(all: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let own = |name: &str| {
        matches!(name, "BALENA" | "RESIN" | JOIN_TOKEN)
            || is_set(name, "BALENA_", &SET_VARIABLES)
            || is_set(name, "RESIN_", &SET_VARIABLES)
    };
    let kept: BTreeMap<_, _> = all.into_iter().filter(|(name, _)| !own(name)).collect_tree();
    let secret = |value: &String| TokenKind::ALL.iter().any(|kind| value.contains(kind.prefix()));
    match kept.iter().find(|(_, value)| secret(value)) {
        Some((name, _)) => Err(format!(
            "its variable `{name}` holds a token, which the agent does not store"
        )),
        None => Ok(kept),
    }
}

fn is_set(name: &str, prefix: &str, set: &[&str]) -> bool {
    name.strip_prefix(prefix).is_some_and(|name| set.contains(&name))
}

/// Adds one member of a container's configuration to the composition.
fn member(
    app_id: u64,
    service: &Service,
    key: &str,
    value: &Value,
    labels: &BTreeMap<String, String>,
    composition: &mut Map<String, Value>,
) -> Result<(), String> {
    let mut set = |key: &str, value: Value| drop(composition.insert(key.to_owned(), value));
    let is = |default: Value| *value == default;
    match key {
        "image" | "labels" | "environment" => {}
        "running" if is(json!(true)) => {}
        "running" => return Err("`running` cannot be written in a release".to_owned()),
        "restart" => match value.as_str() {
            Some("always") => {}
            Some("") => set("restart", "no".into()),
            _ => set("restart", value.clone()),
        },
        "volumes" => {
            let mounts = mounts(app_id, &service.service_name, value, labels)?;
            if !mounts.is_empty() {
                set("volumes", mounts.into());
            }
        }
        "networkMode" => {
            let mode = network_mode(app_id, value)?;
            if let Some(mode) = mode.filter(|mode| mode != "default") {
                set("network_mode", mode.into());
            }
        }
        "networks" => networks(app_id, service, value)?,
        "healthcheck" => {
            if let Some(check) = healthcheck(value) {
                set("healthcheck", check);
            }
        }
        "portMaps" => {
            let ports: Vec<String> = items(value).map(port).collect::<Option<_>>().ok_or("its ports")?;
            if !ports.is_empty() {
                set("ports", json!(ports));
            }
        }
        "devices" => {
            let devices: Vec<String> = items(value)
                .map(device)
                .collect::<Option<_>>()
                .ok_or("its devices")?;
            if !devices.is_empty() {
                set("devices", json!(devices));
            }
        }
        "deviceRequests" if truthy(labels, "gpu") => {}
        "shmSize" if is(json!(67_108_864)) => {}
        "shmSize" => set("shm_size", value.clone()),
        "stopGracePeriod" if is(json!(10)) => {}
        "stopGracePeriod" => set("stop_grace_period", format!("{value}s").into()),
        "ipc" if is(json!("shareable")) => {}
        "ipc" => set("ipc", value.clone()),
        "tty" if is(json!(true)) => {}
        "tty" => set("tty", value.clone()),
        "oomKillDisable" | "privileged" | "readOnly" | "init" if is(json!(false)) => {}
        "oomKillDisable" => set("oom_kill_disable", value.clone()),
        "readOnly" => set("read_only", value.clone()),
        "privileged" | "init" if value.is_boolean() => set(key, value.clone()),
        _ => match SAME.iter().find(|(known, _)| *known == key) {
            Some((known, compose)) if NEVER_LEFT_OUT.contains(known) || !is_empty(value) => {
                set(compose, value.clone());
            }
            Some(_) => {}
            None if is_empty(value) => {}
            None => return Err(format!("`{key}` cannot be written in a release")),
        },
    }
    Ok(())
}

/// What the Supervisor fills in where nothing was posted.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn truthy(labels: &BTreeMap<String, String>, feature: &str) -> bool {
    let label = labels.get(&format!("io.balena.features.{feature}"));
    label.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "on"))
}

fn mounts(
    app_id: u64,
    service: &str,
    value: &Value,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Value>, String> {
    let prefix = format!("{app_id}_");
    let locks = format!("/tmp/balena-supervisor/services/{app_id}/{service}:/tmp/");
    let added = MOUNTING.iter().any(|feature| truthy(labels, feature));
    let mut mounts = Vec::new();
    for mount in items(value) {
        let kept = match mount {
            Value::String(short) if short.starts_with(&locks) => None,
            Value::String(short) if short.starts_with('/') && short.contains(':') && added => None,
            Value::String(short) if short.starts_with('/') && !short.contains(':') => Some(mount.clone()),
            Value::String(short) => Some(
                short
                    .strip_prefix(&prefix)
                    .ok_or("a mount of another app")?
                    .into(),
            ),
            Value::Object(long) => match long.get("type").and_then(Value::as_str) {
                Some("bind") if added => None,
                Some("tmpfs") => Some(mount.clone()),
                Some("volume") => {
                    let mut long = long.clone();
                    if let Some(source) = long.get("source").and_then(Value::as_str) {
                        let name = source
                            .strip_prefix(&prefix)
                            .ok_or("a mount of another app")?
                            .to_owned();
                        long.insert("source".to_owned(), name.into());
                    }
                    Some(long.into())
                }
                _ => return Err("a mount of the host".to_owned()),
            },
            _ => return Err("its mounts".to_owned()),
        };
        mounts.extend(kept);
    }
    Ok(mounts)
}

/// `None`: nothing was posted that has to be posted again.
fn network_mode(app_id: u64, value: &Value) -> Result<Option<String>, String> {
    let mode = value.as_str().unwrap_or_default();
    if matches!(mode, "host" | "bridge" | "none") || mode.starts_with("service:") {
        return Ok(Some(mode.to_owned()));
    }
    let own = mode.strip_prefix(&format!("{app_id}_"));
    Ok(Some(own.ok_or("its network is another app's")?.to_owned()))
}

/// A network mode brings its network, with the service's name as an alias. More than that is not converted.
fn networks(app_id: u64, service: &Service, value: &Value) -> Result<(), String> {
    let mode = service.config.get("networkMode").and_then(Value::as_str);
    let plain = json!({ "aliases": [service.service_name] });
    for (name, network) in value.as_object().into_iter().flatten() {
        let own = name.starts_with(&format!("{app_id}_")) && Some(name.as_str()) == mode;
        if name != "supervisor0" && (!own || *network != plain) {
            return Err(format!("its network `{name}` cannot be written in a release"));
        }
    }
    Ok(())
}

/// `None`: no health check was posted, and the image has none.
fn healthcheck(value: &Value) -> Option<Value> {
    if *value == json!({ "test": ["NONE"] }) {
        return None;
    }
    let mut check = value.as_object().cloned()?;
    for time in ["interval", "timeout", "startPeriod"] {
        if let Some(nanoseconds) = check.get(time).and_then(Value::as_u64) {
            check.insert(time.to_owned(), format!("{nanoseconds}ns").into());
        }
    }
    Some(check.into())
}

fn port(value: &Value) -> Option<String> {
    let ports = value.get("ports").unwrap_or(value);
    let number = |name: &str| ports.get(name).and_then(Value::as_u64);
    let range = |from: u64, to: u64| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    let outer = range(number("externalStart")?, number("externalEnd")?);
    let inner = range(number("internalStart")?, number("internalEnd")?);
    let host = ports
        .get("host")
        .and_then(Value::as_str)
        .filter(|host| !host.is_empty());
    let host = host.map(|host| format!("{host}:")).unwrap_or_default();
    let protocol = ports.get("protocol").and_then(Value::as_str)?;
    Some(format!("{host}{outer}:{inner}/{protocol}"))
}

fn device(value: &Value) -> Option<String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (host, container) = (text("PathOnHost")?, text("PathInContainer")?);
    Some(format!("{host}:{container}:{}", text("CgroupPermissions")?))
}

fn texts(config: &Map<String, Value>, key: &str) -> Result<BTreeMap<String, String>, String> {
    let members = config.get(key).and_then(Value::as_object);
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        _ => Err(format!("its {key} are not all texts")),
    };
    members.into_iter().flatten().map(text).try_collect_tree()
}

fn volume_definition(volume: &Volume) -> Map<String, Value> {
    let mut definition = Map::new();
    let part = |name: &str| volume.config.get(name).filter(|value| !is_empty(value)).cloned();
    if let Some(driver) = part("driver").filter(|driver| driver != "local") {
        definition.insert("driver".to_owned(), driver);
    }
    if let Some(options) = part("driverOpts") {
        definition.insert("driver_opts".to_owned(), options);
    }
    if let Some(Value::Object(mut labels)) = part("labels") {
        labels.retain(|name, _| !is_set(name, "io.balena.", &["supervised", "app-uuid"]));
        if !labels.is_empty() {
            definition.insert("labels".to_owned(), labels.into());
        }
    }
    definition
}

/// Whether a network has to be declared.
fn own_network(network: &Network) -> Result<bool, String> {
    let config = &network.config;
    let plain = config.iter().all(|(key, value)| match key.as_str() {
        "driver" => value == "bridge",
        "ipam" => *value == json!({ "driver": "default", "config": [], "options": {} }),
        "labels" => value
            .as_object()
            .is_some_and(|labels| labels.keys().all(|name| is_set(name, "io.balena.", &SET_LABELS))),
        _ => is_empty(value),
    });
    if plain {
        return Ok(network.name != "default");
    }
    Err(format!(
        "the settings of the network `{}` cannot be written in a release",
        network.name
    ))
}
