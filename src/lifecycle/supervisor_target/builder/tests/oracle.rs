//! What the Supervisor makes of a posted target, written after its source (19.0.5: `legacy.ts`, `app.ts`, `service.ts`,
//! `volume.ts`, `utils.ts`, `sanitise.ts`) and held to its recorded answers in `recorded.rs`. It shares no code with
//! what it judges.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A target as the Supervisor compares it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Target {
    pub(super) apps: BTreeMap<u64, App>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct App {
    pub(super) commit: String,
    pub(super) services: BTreeMap<String, Service>,
    /// Name and `{driver, driverOpts, labels}`.
    pub(super) volumes: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Service {
    pub(super) id: u64,
    pub(super) image_id: u64,
    pub(super) release_id: u64,
    pub(super) image: String,
    pub(super) depends_on: Value,
    pub(super) config: Map<String, Value>,
    /// Compose keys that were left out.
    pub(super) left_out: Vec<String>,
}

/// What becomes of the present target when another one is posted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Consequences {
    /// Volumes that are deleted with their data.
    pub(super) wiped: BTreeSet<String>,
    /// Services whose containers go and do not come back.
    pub(super) removed: BTreeSet<String>,
    /// Services whose containers are made again.
    pub(super) remade: BTreeSet<String>,
    /// Apps that are removed with everything.
    pub(super) removed_apps: BTreeSet<u64>,
}

const HONOURED: &str = "capAdd capDrop command cgroupParent devices dns dnsOpt dnsSearch tmpfs entrypoint environment \
    extraHosts groupAdd healthcheck image init labels running networkMode networks pid pidsLimit ports securityOpt \
    stopGracePeriod stopSignal storageOpt sysctls ulimits usernsMode volumes restart cpuShares cpuQuota cpus cpuset \
    domainname hostname ipc macAddress memLimit memReservation oomKillDisable oomScoreAdj privileged readOnly runtime \
    shmSize user workingDir tty";

/// Reads the body of a post.
///
/// # Errors
/// Why the Supervisor crashes, answers 400 or cannot read its target any more.
pub(super) fn read(body: &Value) -> Result<Target, String> {
    let mut target = Target::default();
    for (key, app) in body["local"]["apps"].as_object().into_iter().flatten() {
        let id: u64 = decimal(key).ok_or("crash: an app's key is not a decimal number")?;
        if app["name"].as_str().is_none_or(|name| name.chars().count() > 255) {
            return Err("400: name".into());
        }
        let release_id = decimal_value(&app["releaseId"]).ok_or("400: releaseId")?;
        let mut services = BTreeMap::new();
        for (key, posted) in app["services"].as_object().into_iter().flatten() {
            let name = posted["serviceName"].as_str().unwrap_or("undefined").to_owned();
            let service_id = decimal(key).ok_or("400: a service's key")?;
            let service = service(&name, (id, service_id, release_id), posted)?;
            services.insert(name, service);
        }
        let volumes = app["volumes"].as_object().into_iter().flatten();
        let volumes = volumes.map(|(name, definition)| (name.clone(), volume(id, definition)));
        let app = App {
            commit: app["commit"].as_str().unwrap_or_default().to_owned(),
            services,
            volumes: volumes.collect(),
        };
        target.apps.insert(id, app);
    }
    Ok(target)
}

fn service(name: &str, (app, id, release_id): (u64, u64, u64), posted: &Value) -> Result<Service, String> {
    let image_id = decimal_value(&posted["imageId"]).ok_or("400: imageId")?;
    let image = posted["image"].as_str().filter(|image| image.len() <= 255);
    let image = image.ok_or("400: image")?.to_owned();
    let (Some(labels), true) = (posted["labels"].as_object(), posted["environment"].is_object()) else {
        return Err("400: labels, environment".into());
    };
    let taken_apart = "imageId serviceName image environment labels running serviceId contract";
    let mut compose = Map::new();
    for (key, value) in posted.as_object().into_iter().flatten() {
        if !taken_apart.split(' ').any(|own| own == key) {
            compose.insert(camel_case(key), value.clone());
        }
    }
    let depends_on = compose.remove("dependsOn").unwrap_or(Value::Null);
    if !depends_on.is_null() && !depends_on.is_array() {
        return Err("fails to plan: dependsOn".into());
    }
    let mut config = json!({ "image": image, "running": posted.get("running").unwrap_or(&json!(true)) });
    let config = config.as_object_mut().ok_or("")?;
    let mut left_out = Vec::new();
    for (key, value) in compose {
        if HONOURED.split_whitespace().any(|known| known == key) {
            config.insert(key, value);
        } else {
            left_out.push(key);
        }
    }
    let mut all = labels.clone();
    for (label, value) in [
        ("supervised", "true"),
        ("app-id", &app.to_string()),
        ("service-id", &id.to_string()),
        ("service-name", name),
        ("app-uuid", &app.to_string()),
    ] {
        all.insert(format!("io.balena.{label}"), value.into());
    }
    config.insert("labels".into(), labels_of(&Value::Object(all)));
    let network = match config.get("networkMode").filter(|mode| !mode.is_null()) {
        Some(mode) => mode.as_str().ok_or("fails to read: networkMode")?.to_owned(),
        None => match config.get("networks") {
            Some(Value::Array(names)) if !names.is_empty() => names[0].as_str().unwrap_or_default().into(),
            Some(Value::Object(names)) if !names.is_empty() => names.keys().next().unwrap().clone(),
            _ => "default".into(),
        },
    };
    let own = matches!(network.as_str(), "host" | "bridge" | "none") || network.starts_with("service:");
    let network = if own { network } else { format!("{app}_{network}") };
    config.insert("networkMode".into(), network.into());
    let restart = match config
        .get("restart")
        .and_then(Value::as_str)
        .map(|r| r.trim().to_lowercase())
    {
        Some(policy) if policy == "no" => String::new(),
        Some(policy) if ["on-failure", "unless-stopped"].contains(&policy.as_str()) => policy,
        _ => "always".into(),
    };
    config.insert("restart".into(), restart.into());
    for key in ["privileged", "readOnly", "oomKillDisable"] {
        let set = config
            .get(key)
            .is_some_and(|value| !value.is_null() && value != &json!(false));
        config.insert(key.into(), set.into());
    }
    let given = config.remove("volumes").unwrap_or(Value::Null);
    config.insert("volumes".into(), mounts(app, name, &given));
    config.insert("environment".into(), posted["environment"].clone());
    Ok(Service {
        id,
        image_id,
        release_id,
        image,
        depends_on,
        config: config.clone(),
        left_out,
    })
}

fn mounts(app: u64, service: &str, given: &Value) -> Value {
    let mut mounts = Vec::new();
    for mount in given.as_array().into_iter().flatten() {
        match mount {
            Value::String(short) if !short.contains(':') && short.starts_with('/') => {
                mounts.push(mount.clone());
            }
            Value::String(short) if short.contains(':') && !short.starts_with('/') => {
                let parts: Vec<&str> = short.split(':').map(str::trim).collect();
                mounts.push(format!("{app}_{}", parts.join(":")).into());
            }
            Value::Object(long) if long.get("type") == Some(&json!("tmpfs")) => mounts.push(mount.clone()),
            Value::Object(long) if long.get("type") == Some(&json!("volume")) => {
                let mut long = long.clone();
                if let Some(source) = long.get("source").and_then(Value::as_str) {
                    let source = format!("{app}_{}", source.trim());
                    long.insert("source".into(), source.into());
                }
                mounts.push(Value::Object(long));
            }
            _ => {}
        }
    }
    let locks = format!("/tmp/balena-supervisor/services/{app}/{service}");
    mounts.extend(["resin", "balena"].map(|name| Value::from(format!("{locks}:/tmp/{name}"))));
    mounts.into()
}

fn volume(app: u64, definition: &Value) -> Value {
    let set = |key: &str| {
        let value = &definition[key];
        (!value.is_null() && value != "").then(|| value.clone())
    };
    let mut labels = labels_of(&set("labels").unwrap_or_else(|| json!({})));
    labels["io.balena.supervised"] = "true".into();
    labels["io.balena.app-uuid"] = app.to_string().into();
    json!({
        "driverOpts": set("driver_opts").unwrap_or_else(|| json!({})), "driver": set("driver").unwrap_or_else(|| json!("local")),
        "labels": labels,
    })
}

/// Other labels, then balena's of the earlier name, then those of the present one; a list is an object of its indexes.
fn labels_of(labels: &Value) -> Value {
    let entries: Vec<(String, Value)> = match labels {
        Value::Array(items) => items
            .iter()
            .cloned()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        Value::Object(members) => members.clone().into_iter().collect(),
        _ => Vec::new(),
    };
    let mut all = Map::new();
    let resin = |name: &str| name.starts_with("io.resin.");
    let balena = |name: &str| name.starts_with("io.balena.");
    let kept = entries.iter().filter(|(name, _)| !resin(name) && !balena(name));
    all.extend(kept.cloned());
    let renamed = entries.iter().filter(|(name, _)| resin(name));
    all.extend(renamed.map(|(name, value)| (name.replace("resin", "balena"), value.clone())));
    all.extend(entries.iter().filter(|(name, _)| balena(name)).cloned());
    all.into()
}

/// What the Supervisor does to get from one target to another.
pub(super) fn consequences(now: &Target, next: &Target) -> Consequences {
    let mut all = Consequences::default();
    let gone = now.apps.keys().filter(|id| !next.apps.contains_key(id));
    all.removed_apps.extend(gone);
    for (id, app) in &now.apps {
        let Some(then) = next.apps.get(id) else { continue };
        for (name, config) in &app.volumes {
            if then
                .volumes
                .get(name)
                .is_some_and(|new| !same_volume(config, new))
            {
                all.wiped.insert(name.clone());
            }
        }
        for (name, service) in &app.services {
            match then.services.get(name) {
                None => drop(all.removed.insert(name.clone())),
                Some(new) if new.config != service.config || new.image != service.image => {
                    all.remade.insert(name.clone());
                }
                Some(_) => {}
            }
        }
    }
    all
}

fn same_volume(one: &Value, other: &Value) -> bool {
    let compared = |config: &Value| {
        let mut config = config.clone();
        for own in [
            "io.resin.supervised",
            "io.balena.supervised",
            "io.balena.app-uuid",
        ] {
            config["labels"].as_object_mut().map(|labels| labels.remove(own));
        }
        config
    };
    compared(one) == compared(other)
}

/// What the service mounts at `dir`, as the container sees it: the innermost mount, and what is below it.
pub(super) fn mounted_at(service: &Service, dir: &str) -> Option<(String, String)> {
    let empty = Vec::new();
    let mounts = service.config["volumes"].as_array().unwrap_or(&empty);
    let mut best: Option<(usize, String, String)> = None;
    let mut offer = |source: &str, target: &str| {
        let target = target.trim_end_matches('/');
        let below = dir
            .strip_prefix(target)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(below) = below
            && best.as_ref().is_none_or(|(length, ..)| target.len() >= *length)
        {
            best = Some((
                target.len(),
                source.to_owned(),
                below.trim_start_matches('/').to_owned(),
            ));
        }
    };
    for mount in mounts {
        match mount {
            Value::String(short) => match short.split(':').collect::<Vec<_>>()[..] {
                [target] => offer("", target),
                [source, target] | [source, target, "rw"] => offer(source, target),
                [_, target, ..] => offer("", target),
                [] => {}
            },
            Value::Object(long) => {
                let text = |key: &str| long.get(key).and_then(Value::as_str).unwrap_or_default();
                let writable = long.get("read_only") != Some(&json!(true));
                let source = if text("type") == "volume" && writable {
                    text("source")
                } else {
                    ""
                };
                offer(source, text("target"));
            }
            _ => {}
        }
    }
    let (_, source, below) = best?;
    (!source.is_empty()).then_some((source, below))
}

fn decimal(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|id: &u64| *id > 0 && id.to_string() == text)
}

fn decimal_value(value: &Value) -> Option<u64> {
    value.as_u64().filter(|id| *id > 0)
}

/// lodash's `camelCase` for keys of ASCII.
fn camel_case(key: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = key.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let turn = match before {
            Some(before) if before.is_ascii_alphanumeric() && c.is_ascii_alphanumeric() => {
                before.is_ascii_digit() != c.is_ascii_digit()
                    || c.is_ascii_uppercase()
                        && (before.is_ascii_lowercase() || after.is_some_and(char::is_ascii_lowercase))
            }
            _ => true,
        };
        if turn && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.push(word);
    let mut out = String::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        match out.is_empty() {
            true => out.push_str(word),
            false => out.extend(word[..1].to_uppercase().chars().chain(word[1..].chars())),
        }
    }
    out
}
