//! The container engine: starts, stops, restarts what ended by itself.

use crate::json::Json;
use crate::supervisor::container::{Container, ContainerState, hex};
use crate::supervisor::registry::Behaviour;
use crate::supervisor::target::{App, Service};
use crate::supervisor::{Effect, StartProcess, Supervisor, Timer, environment};
use std::time::Duration;

/// Why a container is being stopped: decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopFor {
    /// The apply replaces or removes it.
    Apply,
    /// A call restarts it.
    Op,
    /// The API call `stop-service`, or somebody with `docker stop`.
    Hand,
}

impl Supervisor {
    /// Makes a container; it does not run yet.
    pub(crate) fn create(&mut self, app: &App, service: &Service) -> String {
        let number = self.number();
        let id = hex(&format!("{} container {number}", self.config.uuid));
        self.containers.push(Container {
            id: id.clone(),
            app_id: app.id,
            app_uuid: app.uuid.clone(),
            service: service.name.clone(),
            service_id: service.id,
            image_id: service.image_id,
            release_id: app.release_id,
            commit: app.commit.clone().unwrap_or_default(),
            config: service.config.clone(),
            created: self.now,
            state: ContainerState::Created,
            stopping: false,
            behaviour: self.registry.image(&service.config.image).run,
            incarnation: 0,
            started: self.now,
            pause: Duration::ZERO,
            stopped_by_hand: false,
        });
        self.tell("Installing service", &id);
        self.tell("Installed service", &id);
        id
    }

    /// Starts a container; `false`: the engine cannot.
    pub(crate) fn start(&mut self, id: &str) -> bool {
        let now = self.now;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return false;
        };
        if container.behaviour == Behaviour::DoesNotStart {
            return false;
        }
        container.state = ContainerState::Running;
        container.started = now;
        container.incarnation += 1;
        container.stopped_by_hand = false;
        let (incarnation, behaviour) = (container.incarnation, container.behaviour);
        match behaviour {
            Behaviour::Exits { after_millis, .. } | Behaviour::Flaps { after_millis } => {
                let timer = Timer::Exit {
                    container: id.to_owned(),
                    incarnation,
                };
                self.after(Duration::from_millis(after_millis), timer);
            }
            Behaviour::Process => {
                let container = container.clone();
                let volumes = container
                    .config
                    .compose("volumes")
                    .map(Json::items)
                    .unwrap_or_default();
                self.effects.push(Effect::Start(StartProcess {
                    container: container.id.clone(),
                    incarnation,
                    app_id: container.app_id,
                    service: container.service.clone(),
                    image: container.config.image.clone(),
                    volumes: volumes
                        .iter()
                        .filter_map(Json::as_str)
                        .map(str::to_owned)
                        .collect(),
                    environment: environment::of_container(self, &container),
                }));
            }
            Behaviour::Runs | Behaviour::DoesNotStart => {}
        }
        true
    }

    /// Begins to stop a container.
    pub(crate) fn stop(&mut self, id: &str, why: StopFor) {
        let (grace, time) = (self.config.timing.stop_grace, self.config.timing.stop);
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return;
        };
        let own = why != StopFor::Hand;
        container.stopping = own;
        let process = container.behaviour == Behaviour::Process && container.state == ContainerState::Running;
        let time = if container.state == ContainerState::Running {
            time
        } else {
            Duration::ZERO
        };
        self.stopping.insert(id.to_owned(), why);
        if own {
            self.tell("Killing service", id);
        }
        if process {
            self.effects.push(Effect::Stop {
                container: id.to_owned(),
                grace,
            });
        } else {
            self.after(
                time,
                Timer::Stopped {
                    container: id.to_owned(),
                },
            );
        }
    }

    /// A container's process is gone because it was to be stopped.
    pub(crate) fn stopped(&mut self, id: &str) {
        let Some(why) = self.stopping.remove(id) else {
            return;
        };
        if self
            .containers
            .iter()
            .any(|container| container.id == id && container.state == ContainerState::Running)
        {
            self.tell("Service exited", id);
        }
        if why != StopFor::Hand {
            self.tell("Killed service", id);
        }
        match why {
            StopFor::Hand => {
                if let Some(container) = self.containers.iter_mut().find(|container| container.id == id) {
                    container.state = ContainerState::Exited;
                    container.stopped_by_hand = true;
                }
            }
            StopFor::Apply => {
                self.containers.retain(|container| container.id != id);
                if !self.stopping.values().any(|why| *why == StopFor::Apply) {
                    self.after(Duration::ZERO, Timer::Plan);
                }
            }
            StopFor::Op => {
                self.containers.retain(|container| container.id != id);
                if !self.stopping.values().any(|why| *why == StopFor::Op) {
                    self.after(Duration::ZERO, Timer::OpStart);
                }
            }
        }
    }

    /// The process of a container ended, wanted or not. A stale incarnation is ignored.
    pub fn process_exited(&mut self, now: Duration, id: &str, incarnation: u64, code: i32) {
        self.advance(now);
        let known = self.containers.iter().any(|container| {
            container.id == id
                && container.incarnation == incarnation
                && container.state == ContainerState::Running
        });
        if !known {
            return;
        }
        if self.stopping.contains_key(id) {
            self.stopped(id);
        } else {
            self.ended_by_itself(id, code);
        }
    }

    pub(crate) fn simulated_exit(&mut self, id: &str, incarnation: u64) {
        let Some(container) = self.containers.iter().find(|container| container.id == id) else {
            return;
        };
        if container.incarnation != incarnation || container.state != ContainerState::Running {
            return;
        }
        let code = match container.behaviour {
            Behaviour::Exits { code, .. } => code,
            _ => 1,
        };
        if !self.stopping.contains_key(id) {
            self.ended_by_itself(id, code);
        }
    }

    /// The restart policy, as `docker run --restart` documents it.
    fn ended_by_itself(&mut self, id: &str, code: i32) {
        let timing = self.config.timing.clone();
        let now = self.now;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return;
        };
        let again = match container.config.restart() {
            "no" => false,
            "on-failure" => code != 0,
            _ => true,
        };
        let line = format!("Service exited '{}' with code {code}", container.service);
        if again {
            let ran_long = now.saturating_sub(container.started) >= timing.engine_restart_reset;
            container.pause = if ran_long || container.pause.is_zero() {
                timing.engine_restart
            } else {
                (container.pause * 2).min(timing.engine_restart_max)
            };
            container.state = ContainerState::Restarting;
            let timer = Timer::EngineStart {
                container: id.to_owned(),
                incarnation: container.incarnation,
            };
            let pause = container.pause;
            self.after(pause, timer);
        } else {
            container.state = ContainerState::Exited;
        }
        self.say(line);
        self.tell("Service exited", id);
    }

    pub(crate) fn engine_start(&mut self, id: &str, incarnation: u64) {
        let due = self.containers.iter().any(|container| {
            container.id == id
                && container.incarnation == incarnation
                && container.state == ContainerState::Restarting
        });
        if due && !self.stopping.contains_key(id) && self.start(id) {
            self.tell("Restarting service", id);
        }
    }

    /// Somebody runs `docker stop`: it stays stopped and the Supervisor does not notice (u06-restart 6e).
    pub fn stop_by_hand(&mut self, now: Duration, service: &str) {
        self.advance(now);
        if let Some(id) = self.container(service).map(|container| container.id.clone()) {
            self.stop(&id, StopFor::Hand);
        }
    }

    /// Somebody runs `docker start`.
    pub fn start_by_hand(&mut self, now: Duration, service: &str) {
        self.advance(now);
        let stopped = self
            .container(service)
            .filter(|container| container.state == ContainerState::Exited);
        if let Some(id) = stopped.map(|container| container.id.clone())
            && self.start(&id)
        {
            self.tell("Restarting service", &id);
        }
    }

    /// Somebody runs `docker rm -f`: it is gone until a post or a restart of the Supervisor (u06-restart 6d).
    pub fn delete_by_hand(&mut self, now: Duration, service: &str) {
        self.advance(now);
        if let Some(container) = self.container(service) {
            let id = container.id.clone();
            let (runs, is_process) = (
                container.state == ContainerState::Running,
                container.behaviour == Behaviour::Process,
            );
            if is_process {
                self.effects.push(Effect::Kill {
                    container: id.clone(),
                });
            }
            if runs {
                self.tell("Service exited", &id);
            }
            self.stopping.remove(&id);
            self.containers.retain(|container| container.id != id);
        }
    }

    /// Somebody runs `docker rmi`: the Supervisor's list follows at once (u02-rmi-old).
    pub fn remove_image_by_hand(&mut self, reference: &str) {
        self.images.remove(reference);
        self.rows.retain(|row| row.name != reference);
    }
}
