//! What the rules are about.

use crate::admin::CreateRelease;
use crate::collect::CollectTree as _;
use crate::desired::{Release, Service};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the rules are about: the contents of a release, in whatever type it is held.
#[derive(Clone, Debug)]
pub struct ReleaseParts<'a> {
    /// The balena commit.
    pub commit: &'a str,
    /// For people.
    pub version: Option<&'a str>,
    /// By service name.
    pub services: BTreeMap<&'a str, ServiceParts<'a>>,
    /// Named volumes and their definitions (compose form).
    pub volumes: &'a BTreeMap<String, Map<String, Value>>,
    /// Networks and their definitions (compose form).
    pub networks: &'a BTreeMap<String, Map<String, Value>>,
    /// Which service is the agent. Cloudly does not know a node's configuration, so the release says it; the agent
    /// checks besides that it is the name it runs under.
    pub agent_service: &'a str,
}

/// The parts of one service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceParts<'a> {
    /// The image reference.
    pub image: &'a str,
    /// Environment variables of the container.
    pub environment: &'a BTreeMap<String, String>,
    /// Labels of the container.
    pub labels: &'a BTreeMap<String, String>,
    /// The other compose keys.
    pub composition: &'a Map<String, Value>,
    /// How much the image needs on disk, bytes.
    pub size_bytes: Option<u64>,
}

impl<'a> From<&'a Service> for ServiceParts<'a> {
    fn from(service: &'a Service) -> Self {
        Self {
            image: &service.image,
            environment: &service.environment,
            labels: &service.labels,
            composition: &service.composition,
            size_bytes: service.size_bytes,
        }
    }
}

fn services(services: &BTreeMap<String, Service>) -> BTreeMap<&str, ServiceParts<'_>> {
    services
        .iter()
        .map(|(name, service)| (name.as_str(), service.into()))
        .collect_tree()
}

impl<'a> From<&'a Release> for ReleaseParts<'a> {
    fn from(release: &'a Release) -> Self {
        Self {
            commit: &release.commit,
            version: release.version.as_deref(),
            services: services(&release.services),
            volumes: &release.volumes,
            networks: &release.networks,
            agent_service: release.agent_service(),
        }
    }
}

impl<'a> From<&'a CreateRelease> for ReleaseParts<'a> {
    fn from(release: &'a CreateRelease) -> Self {
        Self {
            commit: &release.commit,
            version: release.version.as_deref(),
            services: services(&release.services),
            volumes: &release.volumes,
            networks: &release.networks,
            agent_service: release.agent_service(),
        }
    }
}
