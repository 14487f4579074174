//! `GET /v2/local/target-state`: the internal form, which cannot be posted back (u04-post-back).

use crate::json::{Json, object};
use crate::supervisor::environment;
use crate::supervisor::model::Supervisor;
use crate::supervisor::target::{App, Service};
use crate::supervisor::volume_definition;

/// Configuration variables and their defaults, in the order of a device that never had a target (u01-api-nokey). After
/// a target some come first (u04-get-target).
const CONFIG: [(&str, &str); 18] = [
    ("SUPERVISOR_POLL_INTERVAL", "900000"),
    ("SUPERVISOR_INSTANT_UPDATE_TRIGGER", "true"),
    ("SUPERVISOR_LOCAL_MODE", "true"),
    ("SUPERVISOR_CONNECTIVITY_CHECK", "true"),
    ("SUPERVISOR_LOG_CONTROL", "true"),
    ("SUPERVISOR_API_REQUEST_TIMEOUT", "59000"),
    ("SUPERVISOR_DELTA", "false"),
    ("SUPERVISOR_DELTA_REQUEST_TIMEOUT", "59000"),
    ("SUPERVISOR_DELTA_APPLY_TIMEOUT", "0"),
    ("SUPERVISOR_DELTA_RETRY_COUNT", "30"),
    ("SUPERVISOR_DELTA_RETRY_INTERVAL", "10000"),
    ("SUPERVISOR_DELTA_VERSION", "2"),
    ("SUPERVISOR_OVERRIDE_LOCK", "false"),
    ("SUPERVISOR_PERSISTENT_LOGGING", "false"),
    ("HOST_FIREWALL_MODE", ""),
    ("HOST_DISCOVERABILITY", "true"),
    ("SUPERVISOR_HARDWARE_METRICS", "true"),
    ("SUPERVISOR_VPN_CONTROL", "true"),
];

impl Supervisor {
    pub(crate) fn target_state(&self) -> Json {
        let apps: Json = self
            .target
            .apps
            .iter()
            .map(|app| (app.id.to_string(), self.internal(app)))
            .collect();
        let local =
            object! { "name" => self.name.as_str(), "config" => self.config_variables(), "apps" => apps };
        object! { "status" => "success", "state" => object! { "local" => local } }
    }

    fn config_variables(&self) -> Json {
        let mut all: Vec<(String, Json)> = CONFIG
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Json::from(*value)))
            .collect();
        if self.target_version > 0 {
            let firsts: &[&str] = if self.config.managed {
                &["SUPERVISOR_VPN_CONTROL"]
            } else {
                &["SUPERVISOR_VPN_CONTROL", "SUPERVISOR_LOCAL_MODE"]
            };
            all.sort_by_key(|(name, _)| {
                firsts
                    .iter()
                    .position(|first| first == name)
                    .unwrap_or(firsts.len())
            });
            set(&mut all, "HOST_FIREWALL_MODE", "off");
        }
        if self.config.managed {
            set(&mut all, "SUPERVISOR_LOCAL_MODE", "false");
        }
        for (name, value) in &self.target.config {
            let name = name.trim_start_matches("BALENA_").trim_start_matches("RESIN_");
            let value = if value == "1" { "true" } else { value };
            set(&mut all, name, value);
        }
        Json::Object(all)
    }

    fn internal(&self, app: &App) -> Json {
        let services: Vec<Json> = app
            .services
            .iter()
            .map(|service| self.internal_service(app, service))
            .collect();
        let bridge = |service: &Service| service.config.compose("network_mode").is_none();
        let networks = if app.services.iter().any(bridge) {
            vec![default_network(app)]
        } else {
            Vec::new()
        };
        let volumes: Vec<Json> = app
            .volumes
            .iter()
            .map(|(name, definition)| volume(app, name, definition))
            .collect();
        let source = if self.config.managed {
            "https://api.example"
        } else {
            "local"
        };
        object! {
            "isTargetState" => true, "appId" => app.id, "appUuid" => app.uuid.as_str(),
            "appName" => app.name.as_str(), "commit" => app.commit.clone(), "source" => source,
            "isHost" => false, "isRejected" => false, "services" => services, "networks" => networks,
            "volumes" => volumes,
        }
    }

    fn internal_service(&self, app: &App, service: &Service) -> Json {
        let config = &service.config;
        // Looked up at each call, unlike the rows of `/v2/state/status` (with-agent, E4).
        let present = self.images.find(&config.image).map(|image| image.id.as_str());
        object! {
            "appId" => app.id, "appUuid" => app.uuid.as_str(), "imageId" => service.image_id,
            "config" => self.service_config(app, service, present.unwrap_or(&config.image)),
            "serviceName" => service.name.as_str(), "commit" => app.commit.clone(),
            "releaseId" => app.release_id, "serviceId" => service.id, "imageName" => config.image.as_str(),
            "dependsOn" => config.compose("depends_on").cloned(),
            "dockerImageId" => present.map_or(Json::Null, Json::from),
        }
    }

    fn service_config(&self, app: &App, service: &Service, image: &str) -> Json {
        let config = &service.config;
        let text =
            |name: &str, otherwise: &str| config.compose(name).cloned().unwrap_or_else(|| otherwise.into());
        let list = |name: &str| config.compose(name).cloned().unwrap_or(Json::Array(Vec::new()));
        let labels: Json = config
            .labels
            .iter()
            .cloned()
            .chain([
                ("io.balena.supervised".to_owned(), "true".to_owned()),
                ("io.balena.app-id".to_owned(), app.id.to_string()),
                ("io.balena.service-id".to_owned(), service.id.to_string()),
                ("io.balena.service-name".to_owned(), service.name.clone()),
                ("io.balena.app-uuid".to_owned(), app.uuid.clone()),
            ])
            .map(|(name, value)| (name, Json::String(value)))
            .collect();
        let environment: Json =
            environment::of_service(&self.config, app.id, &app.uuid, &app.name, &service.name, config)
                .into_iter()
                .map(|(name, value)| (name, Json::String(value)))
                .collect();
        let network = format!("{}_default", app.uuid);
        let alias = object! { "aliases" => vec![service.name.as_str()] };
        let lock_dir = format!("/tmp/balena-supervisor/services/{}/{}", app.id, service.name);
        let mut volumes: Vec<Json> = list("volumes").items().to_vec();
        for volume in &mut volumes {
            if let Some(named) = volume.as_str().filter(|text| !text.starts_with('/')) {
                *volume = format!("{}_{named}", app.id).into();
            }
        }
        volumes.extend(["resin", "balena"].map(|name| format!("{lock_dir}:/tmp/{name}").into()));
        let feature = |name: &str| config.label(&format!("io.balena.features.{name}")).is_some();
        if feature("dbus") {
            volumes.push("/run/dbus:/host/run/dbus".into());
        }
        if feature("balena-socket") {
            let socket = "/run/balena-engine.sock";
            volumes.extend(
                ["/host/run/balena-engine.sock", socket, "/var/run/balena.sock"].map(|target| {
                    object! { "type" => "bind", "source" => socket, "target" => target }
                }),
            );
        }
        let mut networks = Vec::new();
        if config.compose("network_mode").is_none() {
            networks.push((network.clone(), alias));
            if feature("supervisor-api") {
                networks.push(("supervisor0".to_owned(), Json::Object(Vec::new())));
            }
        }
        let empty = || Json::Array(Vec::new());
        let none = || Json::Object(Vec::new());
        let all = object! {
            "image" => image, "running" => true, "labels" => labels, "environment" => environment,
            "networkMode" => text("network_mode", &network), "restart" => text("restart", "always"),
            "command" => list("command"), "entrypoint" => list("entrypoint"), "stopSignal" => "SIGTERM",
            "workingDir" => "", "user" => "", "volumes" => Json::Array(volumes), "oomKillDisable" => false,
            "readOnly" => false, "sysctls" => none(), "portMaps" => empty(), "capAdd" => list("cap_add"),
            "capDrop" => empty(), "cgroupParent" => "", "devices" => empty(), "deviceRequests" => empty(),
            "dnsOpt" => empty(), "extraHosts" => empty(),
            "networks" => Json::Object(networks),
            "dns" => empty(), "dnsSearch" => empty(), "ulimits" => none(), "groupAdd" => empty(),
            "healthcheck" => object! { "test" => vec!["NONE"] }, "pid" => "", "pidsLimit" => 0u64,
            "securityOpt" => empty(), "stopGracePeriod" => 10u64, "tmpfs" => empty(), "usernsMode" => "",
            "cpuShares" => 0u64, "cpuQuota" => 0u64, "cpus" => 0u64, "cpuset" => "", "domainname" => "",
            "ipc" => "shareable", "macAddress" => "", "memLimit" => 0u64, "memReservation" => 0u64,
            "oomScoreAdj" => 0u64, "privileged" => config.compose("privileged").cloned().unwrap_or(Json::Bool(false)),
            "shmSize" => 67_108_864u64, "hostname" => "", "tty" => true,
        };
        in_order(all, &config.composition)
    }
}

/// What the release defines comes first, as posted; with the host's network `hostname` moves too.
fn in_order(all: Json, composition: &[(String, Json)]) -> Json {
    let Json::Object(mut all) = all else { return all };
    let given: Vec<&str> = composition
        .iter()
        .filter_map(|(name, _)| {
            Some(match name.as_str() {
                "network_mode" => "networkMode",
                "cap_add" => "capAdd",
                "volumes" | "restart" | "command" | "entrypoint" | "privileged" => name,
                _ => return None,
            })
        })
        .collect();
    let host = given.contains(&"networkMode");
    let firsts: Vec<&str> = ["image", "running"]
        .into_iter()
        .chain(given)
        .chain(["labels", "environment"])
        .chain(host.then_some("hostname"))
        .collect();
    all.sort_by_key(|(name, _)| {
        firsts
            .iter()
            .position(|first| first == name)
            .unwrap_or(firsts.len())
    });
    Json::Object(all)
}

fn default_network(app: &App) -> Json {
    let ipam = object! { "driver" => "default", "config" => Json::Array(Vec::new()), "options" => Json::Object(Vec::new()) };
    let config = object! {
        "driver" => "bridge", "ipam" => ipam, "enableIPv6" => false, "internal" => false,
        "labels" => object! { "io.balena.app-id" => app.id.to_string() }, "options" => Json::Object(Vec::new()),
        "configOnly" => false,
    };
    object! { "appId" => app.id, "appUuid" => app.uuid.as_str(), "name" => "default", "config" => config }
}

fn volume(app: &App, name: &str, definition: &Json) -> Json {
    let config = volume_definition::config(definition, &app.uuid);
    object! { "name" => name, "appId" => app.id, "appUuid" => app.uuid.as_str(), "config" => config }
}

fn set(all: &mut Vec<(String, Json)>, name: &str, value: &str) {
    match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, slot)) => *slot = value.into(),
        None => all.push((name.to_owned(), value.into())),
    }
}
