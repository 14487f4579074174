//! What ran before a release was handed over: a service that got another image and kept its container was not updated.

use crate::lifecycle::facts::Inspection;
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use baseos_interfaces::collect::CollectTree as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// By service name. What cannot be told of a container (its image was not handed over by this agent) is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Predecessors(BTreeMap<String, Predecessor>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Predecessor {
    /// The reference of its image.
    pub(crate) reference: String,
    pub(crate) container_id: String,
    /// The engine's id of its image, if known.
    pub(crate) engine_image: Option<String>,
}

impl Predecessors {
    /// What runs at this look.
    pub(crate) fn of(inspection: &Inspection, record: &TargetRecord) -> Self {
        let own_app = record.app_id().and_then(|id| inspection.apps.get(&id));
        let containers = inspection.view.containers.iter().filter_map(|container| {
            let reference = record
                .reference(&container.service, container.image_id)?
                .to_owned();
            // The target's image is the container's only if the target's ids are: it may not be applied yet.
            let target = own_app.and_then(|app| app.services.get(&container.service));
            let is_targets = target.is_some_and(|target| target.image_id == container.image_id);
            let predecessor = Predecessor {
                reference,
                container_id: container.container_id.clone(),
                engine_image: is_targets
                    .then(|| inspection.view.images.get(&container.service).cloned())
                    .flatten(),
            };
            Some((container.service.clone(), predecessor))
        });
        Self(containers.collect_tree())
    }

    pub(crate) fn get(&self, service: &str) -> Option<&Predecessor> {
        self.0.get(service)
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, service: &str, predecessor: Predecessor) -> Self {
        self.0.insert(service.to_owned(), predecessor);
        self
    }
}
