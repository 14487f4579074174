//! Calls that do something to the app: restart, restart-service, stop, start, reboot.

use crate::json::{Json, object};
use crate::supervisor::apply::Step;
use crate::supervisor::calls::{Answer, Reply};
use crate::supervisor::engine::StopFor;
use crate::supervisor::locking::lock_message;
use crate::supervisor::{App, Container, Service};
use crate::supervisor::{Effect, Supervisor, Timer};
use std::collections::BTreeSet;
use std::time::Duration;

/// A restart that is being carried out; it is answered when it is done.
#[derive(Debug)]
pub(crate) struct Op {
    ticket: u64,
    again: Vec<(App, Service)>,
    /// Of the whole app: the target is applied afterwards, back-off or not (u05-force).
    whole: bool,
}

impl Supervisor {
    /// `POST /v2/applications/:id/restart`: every container of the app is made anew.
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
        self.begin_op(&ids, true)
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
        self.begin_op(&[id], false)
    }

    /// `POST /v2/applications/:id/stop-service`.
    pub(crate) fn stop_service(&mut self, app: u64, body: &Json) -> Reply {
        match self.service(app, body) {
            Err(answer) => Reply::Answer(answer),
            Ok(id) => match self.locked(app, is_forced(body)) {
                Some(message) => Reply::Answer(Answer::failed(423, &message)),
                None => {
                    self.tell("Killing service", &id);
                    self.stop(&id, StopFor::Hand);
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
                    self.tell("Starting service", &id);
                    self.start(&id);
                }
                Answer::text(200, "OK")
            }
        })
    }

    /// `POST /v1/reboot`: 202, then the API is gone at once (local-api-reboot).
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

    /// The message of a lock that stands in the way; force removes it.
    fn locked(&mut self, app: u64, force: bool) -> Option<String> {
        let force = force || self.lock_override();
        let target = self.target.clone();
        for (app, service) in self.lockable(&target, &BTreeSet::from([app])) {
            if self.locks.held(app, &service) {
                if !force {
                    return Some(lock_message(app, &service));
                }
                self.locks.remove(app, &service);
            }
        }
        None
    }

    /// The container a service call means. With one container in the app any name is accepted.
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

    fn begin_op(&mut self, ids: &[String], whole: bool) -> Reply {
        if self.op.is_some() {
            return Reply::Answer(Answer::failed(503, "another action is under way"));
        }
        let ticket = self.number();
        let again = self
            .containers
            .iter()
            .filter(|container| ids.contains(&container.id))
            .map(spec)
            .collect();
        self.op = Some(Op { ticket, again, whole });
        if whole {
            // It takes the place of the apply loop, its back-off included.
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
            self.stop(id, StopFor::Op);
        }
        Reply::Later(ticket)
    }

    pub(crate) fn op_start(&mut self) {
        let timing = &self.config.timing;
        let delay = timing.start + timing.restart_service;
        self.after(delay, Timer::OpDone);
    }

    pub(crate) fn op_done(&mut self) {
        let Some(op) = self.op.take() else { return };
        for (app, service) in &op.again {
            let id = self.create(app, service);
            self.tell("Starting service", &id);
            if self.start(&id) {
                self.tell("Started service", &id);
            }
        }
        self.effects.push(Effect::Answer {
            ticket: op.ticket,
            answer: Answer::text(200, "OK"),
        });
        if op.whole {
            self.apply.step = Step::Idle;
            self.trigger(false, true);
        }
    }
}

pub(crate) fn is_forced(body: &Json) -> bool {
    body.get("force")
        .is_some_and(|force| force.is_true() || force.as_str() == Some("true"))
}

/// What a container was made from, to make it again.
fn spec(container: &Container) -> (App, Service) {
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
