//! The modelled Supervisor.

use super::{APP, Reply, View, World, commit, release};
use crate::lifecycle::effect::SupervisorCall;
use crate::lifecycle::event::SupervisorAnswer;
use crate::lifecycle::facts::{
    AppState, Container, Inspection, SupervisorError, SupervisorErrorKind, SupervisorView, TargetApp,
    TargetService,
};
use baseos_interfaces::status::OsStatus;
use std::collections::BTreeMap;

impl World {
    pub(super) fn supervise(
        &mut self,
        call: &SupervisorCall,
        reply: Reply,
    ) -> Result<SupervisorAnswer, SupervisorError> {
        let kind = match reply {
            Reply::Good => None,
            Reply::Refused => Some(SupervisorErrorKind::Refused),
            Reply::Gone => Some(SupervisorErrorKind::Locked),
            Reply::Unavailable => Some(SupervisorErrorKind::Unavailable),
        };
        if let Some(kind) = kind {
            return Err(SupervisorError {
                kind,
                message: format!("{kind:?}").to_lowercase(),
            });
        }
        match call {
            SupervisorCall::Inspect => Ok(SupervisorAnswer::Inspected(Box::new(self.inspection()))),
            SupervisorCall::ApplyTarget { target, .. } => {
                let number = (1..=4)
                    .find(|n| commit(*n) == target.commit())
                    .expect("a release of this world");
                self.target = Some(release(number));
                self.target_lost = false;
                let json = serde_json::to_value(target).unwrap();
                let services = json["local"]["apps"][APP.to_string()]["services"]
                    .as_object()
                    .unwrap()
                    .clone();
                self.images_before = std::mem::take(&mut self.images);
                self.images = services
                    .values()
                    .map(|s| {
                        (
                            s["serviceName"].as_str().unwrap().to_owned(),
                            s["imageId"].as_u64().unwrap(),
                        )
                    })
                    .collect();
                self.model.was_handed_over(target.commit());
                self.disk_model.was_handed_over(target.commit());
                Ok(SupervisorAnswer::Accepted)
            }
            SupervisorCall::CollectLogs { .. } => Ok(SupervisorAnswer::Logs("logs".into())),
            _ => Ok(SupervisorAnswer::Accepted),
        }
    }

    /// Somebody else hands the Supervisor a release.
    pub(crate) fn post(&mut self, number: u8) {
        let release = release(number);
        self.images_before = std::mem::take(&mut self.images);
        self.images = release
            .services
            .keys()
            .cloned()
            .zip(1000 + 10 * u64::from(number)..)
            .collect();
        self.target = Some(release);
        self.target_lost = false;
        self.model.was_displaced(commit(number));
        self.disk_model.was_displaced(commit(number));
    }

    /// Containers run on, but the Supervisor has no target.
    pub(super) fn lose_target(&mut self) {
        self.target_lost = true;
        self.model.target_was_lost();
        self.disk_model.target_was_lost();
    }

    pub(super) fn inspection(&self) -> Inspection {
        let services = self.images.iter().enumerate().map(|(at, (name, image_id))| {
            let service = TargetService {
                service_id: at as u64 + 1,
                image_id: *image_id,
                release_id: 1,
                image: self.image_of(name),
                mounts: Vec::new(),
            };
            (name.clone(), service)
        });
        let app = TargetApp {
            name: "baseos".into(),
            commit: self.target.as_ref().map(|release| release.commit.clone()),
            services: services.collect(),
            volumes: BTreeMap::new(),
            definition: self.definition.clone(),
        };
        let mut apps = BTreeMap::new();
        if self.other_app {
            apps.insert(APP + 1, app.clone());
        }
        if !self.target_lost {
            apps.insert(APP, app);
        }
        Inspection {
            view: self.view(self.inspected).unwrap(),
            apps,
            config: BTreeMap::new(),
            name: None,
        }
    }

    /// The reference of a service's image in the target.
    fn image_of(&self, service: &str) -> String {
        let services = self.target.as_ref().map(|release| &release.services);
        services
            .and_then(|services| services.get(service))
            .map_or_else(String::new, |service| service.image.clone())
    }

    pub(super) fn view(&self, view: View) -> Result<SupervisorView, SupervisorError> {
        let target = self.target.as_ref().filter(|_| !self.target_lost);
        let target = target.map(|release| release.commit.clone());
        // Release 3 is bad by nature: its onebox does not stay up.
        let ill = view == View::Unhealthy || (view == View::Actual && target == Some(commit(3)));
        let fetched = !matches!(view, View::Fetching(_) | View::Stuck);
        let images = if fetched {
            &self.images
        } else {
            &self.images_before
        };
        let exists = |service: &&String| view != View::Absent || *service != "onebox";
        let containers = images
            .iter()
            .filter(|(service, _)| exists(service))
            .map(|(service, image_id)| Container {
                service: service.clone(),
                status: if ill && service == "onebox" {
                    "exited".into()
                } else {
                    "Running".into()
                },
                image_id: *image_id,
                container_id: match self.images_before.get(service) {
                    Some(before) if view == View::Unreplaced => format!("c-{service}-{before}"),
                    _ if self.remade > 0 => format!("c-{service}-{image_id}-{}", self.remade),
                    _ => format!("c-{service}-{image_id}"),
                },
                created_at: String::new(),
            });
        let (app_state, release) = match view {
            View::Silent => {
                let message = "no answer".to_owned();
                return Err(SupervisorError {
                    kind: SupervisorErrorKind::Unavailable,
                    message,
                });
            }
            View::Working | View::Fetching(_) | View::Stuck => (AppState::Applying, None),
            View::Foreign => (AppState::Applied, Some("f00d".repeat(8))),
            View::Actual | View::Unhealthy | View::Absent | View::Unreplaced => (AppState::Applied, target),
        };
        Ok(SupervisorView {
            version: "19.0.5".into(),
            managed: false,
            app_state,
            release,
            download_percent: match view {
                View::Working => Some(50),
                View::Fetching(percent) => Some(percent),
                _ => None,
            },
            containers: containers.collect(),
            update_failed: view == View::Stuck,
            update_downloaded: false,
            images: self.engine_images.clone().unwrap_or_default(),
            images_problem: match self.engine_images {
                Some(_) => None,
                None => Some("GET /v2/local/target-state: status 500".to_owned()),
            },
            present_images: self.present_images.clone(),
            ip_addresses: Vec::new(),
            mac_addresses: Vec::new(),
            os: OsStatus::default(),
        })
    }
}
