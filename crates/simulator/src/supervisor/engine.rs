//! The container engine: starts and stops containers, and restarts those that ended by themselves.

use crate::json::Json;
use crate::supervisor::container::{Container, ContainerState, StopReason};
use crate::supervisor::effect::{Effect, StartProcess};
use crate::supervisor::environment;
use crate::supervisor::image_store::StoredImage;
use crate::supervisor::model::Supervisor;
use crate::supervisor::registry::Behaviour;
use crate::supervisor::target::{App, Service};
use crate::supervisor::timer::Timer;
use crate::text::hex;
use std::time::Duration;

impl Supervisor {
    /// Makes a container without starting it.
    pub(crate) fn create(&mut self, app: &App, service: &Service) -> String {
        let number = self.next_number();
        let id = hex(&format!("{} container {number}", self.config.device_uuid));
        let reference = &service.config.image;
        let image = self
            .images
            .find(reference)
            .cloned()
            .unwrap_or_else(|| StoredImage {
                reference: reference.clone(),
                id: self.registry.image_id(reference),
            });
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
            behaviour: self.registry.image(&image.reference).run,
            image,
            incarnation: 0,
            started: self.now,
            restart_pause: Duration::ZERO,
            forgotten: false,
            stopped_manually: false,
        });
        self.log_about("Installing service", &id);
        self.log_about("Installed service", &id);
        id
    }

    /// `false`: the engine cannot start it.
    pub(crate) fn start(&mut self, id: &str) -> bool {
        let now = self.now;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return false;
        };
        let broken = matches!(container.behaviour, Behaviour::Breaks { .. }) && container.incarnation > 0;
        if broken || container.behaviour == Behaviour::DoesNotStart {
            return false;
        }
        container.state = ContainerState::Running;
        container.started = now;
        container.incarnation += 1;
        container.stopped_manually = false;
        let (incarnation, behaviour) = (container.incarnation, container.behaviour);
        match behaviour {
            Behaviour::Exits { after_millis, .. }
            | Behaviour::Flaps { after_millis }
            | Behaviour::Breaks { after_millis } => {
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
                    image: container.image.reference.clone(),
                    command: container.config.command(),
                    user: container
                        .config
                        .compose("user")
                        .and_then(Json::as_str)
                        .map(str::to_owned),
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
    pub(crate) fn stop(&mut self, id: &str, why: StopReason) {
        let (grace, time) = (self.config.timing.stop_grace, self.config.timing.stop);
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return;
        };
        let by_supervisor = why != StopReason::Manual;
        container.stopping = by_supervisor;
        let process = container.behaviour == Behaviour::Process && container.state == ContainerState::Running;
        let time = if container.state == ContainerState::Running {
            time
        } else {
            Duration::ZERO
        };
        self.stopping.insert(id.to_owned(), why);
        if by_supervisor {
            self.log_about("Killing service", id);
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

    /// A container has stopped because it was told to.
    pub(crate) fn stopped(&mut self, id: &str) {
        let Some(why) = self.stopping.remove(id) else {
            return;
        };
        if self
            .containers
            .iter()
            .any(|container| container.id == id && container.state == ContainerState::Running)
        {
            self.log_about("Service exited", id);
        }
        if why != StopReason::Manual {
            self.log_about("Killed service", id);
        }
        match why {
            StopReason::Manual => {
                if let Some(container) = self.containers.iter_mut().find(|container| container.id == id) {
                    container.state = ContainerState::Exited;
                    container.stopped_manually = true;
                }
            }
            StopReason::Apply => {
                self.containers.retain(|container| container.id != id);
                if !self.stopping.values().any(|why| *why == StopReason::Apply) {
                    self.after(Duration::ZERO, Timer::Plan);
                }
            }
            StopReason::Restart => {
                self.containers.retain(|container| container.id != id);
                if !self.stopping.values().any(|why| *why == StopReason::Restart) {
                    self.after(Duration::ZERO, Timer::RestartStart);
                }
            }
        }
    }

    /// The process of a container ended. A stale incarnation is ignored.
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

    /// Follows the restart policy, as `docker run --restart` documents it.
    fn ended_by_itself(&mut self, id: &str, code: i32) {
        let timing = self.config.timing.clone();
        let now = self.now;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return;
        };
        let again = match container.config.restart() {
            _ if matches!(container.behaviour, Behaviour::Breaks { .. }) => false,
            "no" => false,
            "on-failure" => code != 0,
            _ => true,
        };
        let line = format!("Service exited '{}' with code {code}", container.service);
        if again {
            let ran_long = now.saturating_sub(container.started) >= timing.engine_restart_reset;
            container.restart_pause = if ran_long || container.restart_pause.is_zero() {
                timing.engine_restart
            } else {
                (container.restart_pause * 2).min(timing.engine_restart_max)
            };
            container.state = ContainerState::Restarting;
            let timer = Timer::EngineStart {
                container: id.to_owned(),
                incarnation: container.incarnation,
            };
            let pause = container.restart_pause;
            self.after(pause, timer);
        } else {
            container.state = ContainerState::Exited;
        }
        self.note(line);
        self.log_about("Service exited", id);
    }

    pub(crate) fn engine_start(&mut self, id: &str, incarnation: u64) {
        let due = self.containers.iter().any(|container| {
            container.id == id
                && container.incarnation == incarnation
                && container.state == ContainerState::Restarting
        });
        if due && !self.stopping.contains_key(id) && self.start(id) {
            self.log_about("Restarting service", id);
        }
    }

    /// `docker stop`: the container stays stopped and the Supervisor does not notice (observed).
    pub fn stop_container(&mut self, now: Duration, service: &str) {
        self.advance(now);
        if let Some(id) = self.container(service).map(|container| container.id.clone()) {
            self.stop(&id, StopReason::Manual);
        }
    }

    /// `docker start`
    pub fn start_container(&mut self, now: Duration, service: &str) {
        self.advance(now);
        let stopped = self
            .container(service)
            .filter(|container| container.state == ContainerState::Exited);
        if let Some(id) = stopped.map(|container| container.id.clone())
            && self.start(&id)
        {
            self.log_about("Restarting service", &id);
        }
    }

    /// `docker rm -f`: the container is missing until a post or a restart of the Supervisor (observed).
    pub fn delete_container(&mut self, now: Duration, service: &str) {
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
                self.log_about("Service exited", &id);
            }
            self.stopping.remove(&id);
            self.containers.retain(|container| container.id != id);
        }
    }

    /// `docker rmi`: the Supervisor's list changes at once (observed).
    pub fn remove_image(&mut self, reference: &str) {
        self.images.remove(reference);
        self.rows.retain(|row| row.name != reference);
    }
}
