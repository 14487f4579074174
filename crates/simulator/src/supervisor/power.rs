//! Ends and beginnings: the Supervisor's process and the device.

use crate::supervisor::container::ContainerState;
use crate::supervisor::engine::StopFor;
use crate::supervisor::registry::Behaviour;
use crate::supervisor::{Effect, Power, Supervisor, Timer, apply::Apply};
use std::time::Duration;

impl Supervisor {
    /// The Supervisor's process ends: the API is gone, the apply with it; containers run on.
    pub fn crash(&mut self, now: Duration) {
        self.advance(now);
        self.go_down();
        if let Some(delay) = self.config.timing.crash_restart {
            self.after(delay, Timer::SupervisorUp);
        }
    }

    /// The Supervisor's process is started (again). Its target survives; a pending one is tried at once.
    pub fn restart(&mut self, now: Duration) {
        self.advance(now);
        self.go_down();
        let delay = self.config.timing.supervisor_start;
        self.after(delay, Timer::SupervisorUp);
    }

    /// The device loses its power for as long as a boot takes.
    pub fn power_cycle(&mut self, now: Duration) {
        self.advance(now);
        self.power_off();
    }

    pub(crate) fn go_down(&mut self) {
        self.power = Power::Down;
        self.cancel(|timer| timer.is_supervisors() || matches!(timer, Timer::SupervisorUp));
        self.apply = Apply::default();
        self.op = None;
        for container in &mut self.containers {
            container.stopping = false;
        }
        // What was being stopped goes on to stop, but nobody is left to remove it.
        for why in self.stopping.values_mut() {
            *why = StopFor::Hand;
        }
        let apps: Vec<u64> = self.commits.keys().copied().collect();
        for app in apps {
            self.locks.release(app);
        }
        self.effects.push(Effect::Down);
        self.say("the Supervisor's process has ended");
    }

    pub(crate) fn power_off(&mut self) {
        self.go_down();
        self.cancel(|_| true);
        self.stopping.clear();
        for container in &mut self.containers {
            if container.behaviour == Behaviour::Process && container.state == ContainerState::Running {
                self.effects.push(Effect::Kill {
                    container: container.id.clone(),
                });
            }
            container.state = ContainerState::Exited;
        }
        let delay = self.config.timing.reboot;
        self.after(delay, Timer::Boot);
    }

    /// u06-restart 6b: containers start with the engine, same ids, and the state is `applied`.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.locks.clear();
        self.effects.push(Effect::Booted);
        // `always` starts at boot whatever happened before; `unless-stopped` remembers a stop by hand.
        let due: Vec<String> = self
            .containers
            .iter()
            .filter(|container| match container.config.restart() {
                "no" | "on-failure" => false,
                "unless-stopped" => !container.stopped_by_hand,
                _ => true,
            })
            .map(|container| container.id.clone())
            .collect();
        for id in due {
            self.start(&id);
        }
        let delay = self.config.timing.supervisor_start;
        self.after(delay, Timer::SupervisorUp);
    }

    pub(crate) fn supervisor_up(&mut self) {
        self.power = Power::Up;
        self.effects.push(Effect::Up);
        self.say("the Supervisor has started");
        if self.target_version > 0 {
            self.trigger(false, false);
        }
    }
}
