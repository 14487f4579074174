//! Calls that act on the app: restart, restart-service, stop, start, reboot.

use crate::json::{Json, object};
use crate::supervisor::api::{Answer, Reply, is_forced};
use crate::supervisor::apply_state::Step;
use crate::supervisor::container::{Container, StopReason};
use crate::supervisor::effect::Effect;
use crate::supervisor::model::{PendingRestart, Supervisor};
use crate::supervisor::target::{App, Service};
use crate::supervisor::timer::Timer;
use std::collections::BTreeSet;
use std::time::Duration;

impl Supervisor {
    /// `POST /v2/applications/:id/restart`: all containers of the app are made again.
    pub(crate) fn restart_app(&mut self, app: u64, force: bool) -> Reply {
        let ids = self.ids(|container| container.app_id == app);
        if ids.is_empty() {
            return Reply::Answer(Answer::failed(
                503,
                &format!("Application with ID {app} is not in the current state"),
            ));
        }
        if let Some(message) = self.locked(app, force) {
            return Reply::Answer(Answer::failed(423, &message));
        }
        self.begin_restart(&ids, true)
    }

    /// `POST /v2/applications/:id/restart-service`.
    pub(crate) fn restart_service(&mut self, app: u64, body: &Json) -> Reply {
        let id = match self.service(app, body) {
            Ok(id) => id,
            Err(answer) => return Reply::Answer(answer),
        };
        if let Some(message) = self.locked(app, is_forced(body)) {
            return Reply::Answer(Answer::failed(423, &message));
        }
        self.begin_restart(&[id], false)
    }

    /// `POST /v2/applications/:id/stop-service`.
    pub(crate) fn stop_service(&mut self, app: u64, body: &Json) -> Reply {
        match self.service(app, body) {
            Err(answer) => Reply::Answer(answer),
            Ok(id) => match self.locked(app, is_forced(body)) {
                Some(message) => Reply::Answer(Answer::failed(423, &message)),
                None => {
                    self.log_about("Killing service", &id);
                    self.stop(&id, StopReason::Manual);
                    Reply::Answer(Answer::text(200, "OK"))
                }
            },
        }
    }

    /// `POST /v2/applications/:id/start-service`; ignores locks.
    pub(crate) fn start_service(&mut self, app: u64, body: &Json) -> Reply {
        Reply::Answer(match self.service(app, body) {
            Err(answer) => answer,
            Ok(id) => {
                let runs = self
                    .containers
                    .iter()
                    .any(|container| container.id == id && container.status() == "Running");
                if !runs {
                    self.log_about("Starting service", &id);
                    self.start(&id);
                }
                Answer::text(200, "OK")
            }
        })
    }

    /// `POST /v1/reboot`: 202, then the API is gone (local-api-reboot).
    pub(crate) fn reboot(&mut self, force: bool) -> Reply {
        let apps: BTreeSet<u64> = self.containers.iter().map(|container| container.app_id).collect();
        for app in apps {
            if let Some(message) = self.locked(app, force) {
                return Reply::Answer(Answer::json(423, &object! { "Data" => "", "Error" => message }));
            }
        }
        // The answer has to leave first.
        self.after(Duration::from_millis(100), Timer::PowerOff);
        Reply::Answer(Answer::json(
            202,
            &object! { "Data" => "OK", "Error" => Json::Null },
        ))
    }

    /// The message of a lock that is in the way; force removes it.
    fn locked(&mut self, app: u64, force: bool) -> Option<String> {
        let target = self.target.clone();
        self.check_locks(&target, &BTreeSet::from([app]), force)
    }

    /// The container that a service call means. With one container in the app any name is accepted.
    fn service(&self, app: u64, body: &Json) -> Result<String, Answer> {
        let ids = self.ids(|container| container.app_id == app);
        let name = body.get("serviceName").and_then(Json::as_str);
        let image = body.get("imageId").and_then(Json::as_id);
        match ids.as_slice() {
            _ if name.is_none() && image.is_none() => Err(Answer::text(
                400,
                "serviceName or imageId parameters were not provided or the app is multi-container. Use the v2 service action endpoints.",
            )),
            [] => Err(Answer::failed(
                503,
                &format!("Application with ID {app} is not in the current state"),
            )),
            [only] => Ok(only.clone()),
            _ => self
                .containers
                .iter()
                .filter(|container| container.app_id == app)
                .find(|container| {
                    Some(container.service.as_str()) == name || Some(container.image_id) == image
                })
                .map(|container| container.id.clone())
                .ok_or_else(|| {
                    Answer::text(
                        404,
                        "Service not found, a container must exist for this endpoint to work",
                    )
                }),
        }
    }

    fn ids(&self, which: impl Fn(&Container) -> bool) -> Vec<String> {
        self.containers
            .iter()
            .filter(|container| which(container))
            .map(|container| container.id.clone())
            .collect()
    }

    fn begin_restart(&mut self, ids: &[String], whole_app: bool) -> Reply {
        if self.restart.is_some() {
            return Reply::Answer(Answer::failed(503, "another action is under way"));
        }
        let ticket = self.next_number();
        let services = self
            .containers
            .iter()
            .filter(|container| ids.contains(&container.id))
            .map(made_from)
            .collect();
        self.restart = Some(PendingRestart {
            ticket,
            services,
            whole_app,
        });
        if whole_app {
            // It replaces the apply loop, its back-off included.
            self.cancel(|timer| {
                matches!(
                    timer,
                    Timer::Plan | Timer::Commit | Timer::Finish | Timer::Applied
                )
            });
            self.apply.step = Step::Stopping;
            self.apply.reported = false;
        }
        for id in ids {
            self.stop(id, StopReason::Restart);
        }
        Reply::Later(ticket)
    }

    pub(crate) fn restart_start(&mut self) {
        let timing = &self.config.timing;
        let delay = timing.start + timing.restart_service;
        self.after(delay, Timer::RestartDone);
    }

    pub(crate) fn restart_done(&mut self) {
        let Some(restart) = self.restart.take() else {
            return;
        };
        for (app, service) in &restart.services {
            let id = self.create(app, service);
            self.log_about("Starting service", &id);
            if self.start(&id) {
                self.log_about("Started service", &id);
            }
        }
        self.effects.push(Effect::Answer {
            ticket: restart.ticket,
            answer: Answer::text(200, "OK"),
        });
        if restart.whole_app {
            self.apply.step = Step::Idle;
            self.trigger(false, true);
        }
    }
}

/// What a container was made from, to make it again.
fn made_from(container: &Container) -> (App, Service) {
    let service = Service {
        name: container.service.clone(),
        id: container.service_id,
        image_id: container.image_id,
        config: container.config.clone(),
    };
    let app = App {
        id: container.app_id,
        uuid: container.app_uuid.clone(),
        name: String::new(),
        commit: Some(container.commit.clone()),
        release_id: container.release_id,
        services: Vec::new(),
        volumes: Vec::new(),
    };
    (app, service)
}
