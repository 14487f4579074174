//! Releases with two services, the agent and Onebox, in the forms of Cloudly and of the Supervisor.

use crate::json::Json;
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::desired::{PlatformImage, Service};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The id of the app on the device.
pub const APP_ID: u64 = 1;

/// A release of the demo and the tests.
#[derive(Clone, Debug)]
pub struct TestRelease {
    /// Hex with a letter.
    pub commit: String,
    pub version: String,
    pub agent_image: String,
    /// The user of the agent's container; `None`: the image's own.
    pub agent_user: Option<String>,
    pub onebox_image: String,
    pub onebox_composition: Map<String, Value>,
    /// What Cloudly knows of Onebox's image from its registry.
    pub onebox_platforms: BTreeMap<String, PlatformImage>,
    /// A change of it makes the release replace the agent.
    pub agent_environment: BTreeMap<String, String>,
}

impl TestRelease {
    /// The agent's image is `baserunner:1`.
    pub fn new(commit: &str, version: &str, onebox_image: &str) -> Self {
        Self {
            commit: commit.to_owned(),
            version: version.to_owned(),
            agent_image: "baserunner:1".to_owned(),
            agent_user: None,
            onebox_image: onebox_image.to_owned(),
            onebox_composition: Map::new(),
            onebox_platforms: BTreeMap::new(),
            agent_environment: BTreeMap::new(),
        }
    }

    /// With another image of the agent: the release replaces the agent.
    #[must_use]
    pub fn with_agent_image(self, image: &str) -> Self {
        Self {
            agent_image: image.to_owned(),
            ..self
        }
    }

    /// With another user of the agent's container: the release replaces the agent.
    #[must_use]
    pub fn with_agent_user(self, user: &str) -> Self {
        Self {
            agent_user: Some(user.to_owned()),
            ..self
        }
    }

    #[must_use]
    pub fn with_onebox_restart(mut self, policy: &str) -> Self {
        self.onebox_composition
            .insert("restart".to_owned(), policy.into());
        self
    }

    /// With what the registry says of Onebox's image.
    #[must_use]
    pub fn with_onebox_platform(mut self, platform: &str, image: PlatformImage) -> Self {
        self.onebox_platforms.insert(platform.to_owned(), image);
        self
    }

    /// For `POST /baseos/v1/admin/releases`.
    pub fn create_request(&self) -> CreateRelease {
        let mut agent_composition = Map::from_iter([("volumes".to_owned(), json!(["baseos:/data/baseos"]))]);
        if let Some(user) = &self.agent_user {
            agent_composition.insert("user".to_owned(), json!(user));
        }
        let agent = Service {
            environment: self.agent_environment.clone(),
            labels: BTreeMap::from([("io.balena.features.supervisor-api".to_owned(), "1".to_owned())]),
            composition: agent_composition,
            ..Service::of_image(&self.agent_image)
        };
        let onebox = Service {
            composition: self.onebox_composition.clone(),
            platforms: self.onebox_platforms.clone(),
            ..Service::of_image(&self.onebox_image)
        };
        CreateRelease {
            commit: self.commit.clone(),
            version: Some(self.version.clone()),
            agent_service: None,
            services: BTreeMap::from([("baserunner".to_owned(), agent), ("onebox".to_owned(), onebox)]),
            volumes: BTreeMap::from([("baseos".to_owned(), Map::new())]),
            networks: BTreeMap::new(),
        }
    }

    /// For `POST /v2/local/target-state`, as a device is delivered with its first release.
    pub fn local_target(&self, device_name: &str) -> Json {
        let release = self.create_request();
        let services: Map<String, Value> = (1u64..)
            .zip(&release.services)
            .map(|(id, (name, service))| {
                let mut body = service.composition.clone();
                body.insert("serviceName".to_owned(), name.as_str().into());
                body.insert("imageId".to_owned(), id.into());
                body.insert("image".to_owned(), service.image.as_str().into());
                body.insert("environment".to_owned(), json!(service.environment));
                body.insert("labels".to_owned(), json!(service.labels));
                (id.to_string(), Value::Object(body))
            })
            .collect();
        let app = json!({
            "name": "baseos", "commit": self.commit, "releaseId": 1, "services": services,
            "volumes": release.volumes, "networks": {},
        });
        let mut apps = Map::new();
        apps.insert(APP_ID.to_string(), app);
        let config = json!({ "SUPERVISOR_LOCAL_MODE": "true" });
        let target = json!({ "local": { "name": device_name, "config": config, "apps": apps } });
        // The output of serde_json is valid JSON.
        Json::parse(target.to_string().as_bytes()).unwrap_or(Json::Null)
    }
}
