//! Target states.

use crate::json::Json;
use std::collections::BTreeMap;

/// What the device has to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// `None`: the device keeps its name.
    pub name: Option<String>,
    /// Configuration variables as posted.
    pub config: Vec<(String, String)>,
    /// Lowest id first.
    pub apps: Vec<App>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct App {
    pub id: u64,
    /// In a local target the id as text.
    pub uuid: String,
    pub name: String,
    /// `None`: no release, so nothing runs.
    pub commit: Option<String>,
    pub release_id: u64,
    pub services: Vec<Service>,
    /// Named volumes and their definitions.
    pub volumes: Vec<(String, Json)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: String,
    pub id: u64,
    pub image_id: u64,
    pub config: ServiceConfig,
}

/// What a container is made from. When it is equal, a new release only renames the container. The order of members
/// does not count.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub image: String,
    pub environment: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    /// All other keys (`volumes`, `network_mode`, `restart` …).
    pub composition: Vec<(String, Json)>,
}

impl Target {
    /// The services of all apps.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&App, &Service)> {
        self.apps
            .iter()
            .flat_map(|app| app.services.iter().map(move |service| (app, service)))
    }
}

impl PartialEq for ServiceConfig {
    fn eq(&self, other: &Self) -> bool {
        self.image == other.image && self.is_same_but_for_image(other)
    }
}

impl ServiceConfig {
    pub(crate) fn is_same_but_for_image(&self, other: &Self) -> bool {
        let sorted =
            |list: &[(String, String)]| -> BTreeMap<String, String> { list.iter().cloned().collect() };
        let composition = |config: &Self| Json::Object(config.composition.clone());
        sorted(&self.environment) == sorted(&other.environment)
            && sorted(&self.labels) == sorted(&other.labels)
            && composition(self).is_same(&composition(other))
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn compose(&self, name: &str) -> Option<&Json> {
        self.composition
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The restart policy; balena's default is `always`.
    pub(crate) fn restart(&self) -> &str {
        self.compose("restart").and_then(Json::as_str).unwrap_or("always")
    }

    /// The command in place of the image's own, from either form of `command`.
    pub(crate) fn command(&self) -> Vec<String> {
        match self.compose("command") {
            Some(Json::Array(words)) => words.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Some(Json::String(words)) => words.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Names of the services it depends on, from either form of `depends_on`.
    pub(crate) fn depends_on(&self) -> Vec<String> {
        match self.compose("depends_on") {
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Some(Json::Object(names)) => names.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Names of the volumes it uses.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.compose("volumes")
            .map(Json::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Json::as_str)
            .filter_map(|volume| volume.split_once(':'))
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with('/'))
    }
}
