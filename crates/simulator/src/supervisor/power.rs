//! Start and end of the Supervisor's process and of the device.

use crate::supervisor::apply_state::Apply;
use crate::supervisor::container::{ContainerState, StopReason};
use crate::supervisor::effect::Effect;
use crate::supervisor::model::Supervisor;
use crate::supervisor::pull_failures::PullFailures;
use crate::supervisor::registry::Behaviour;
use crate::supervisor::target::Target;
use crate::supervisor::timer::Timer;
use std::time::Duration;

impl Supervisor {
    /// The Supervisor's process ends: API and apply loop are gone, containers run on.
    pub fn crash(&mut self, now: Duration) {
        self.advance(now);
        self.go_down();
        if let Some(delay) = self.config.timing.crash_restart {
            self.after(delay, Timer::SupervisorUp);
        }
    }

    /// The Supervisor's process is started again. Its target is kept and applied at once.
    pub fn restart(&mut self, now: Duration) {
        self.advance(now);
        self.go_down();
        let delay = self.config.timing.supervisor_start;
        self.after(delay, Timer::SupervisorUp);
    }

    /// The Supervisor's process is started again without its database: no target and no release, but the containers run on
    /// (observed).
    pub fn lose_database(&mut self, now: Duration) {
        self.restart(now);
        self.target = Target::default();
        self.target_version = 0;
        self.commits.clear();
        self.rows.clear();
        for container in &mut self.containers {
            container.forgotten = true;
        }
        self.note("the Supervisor's database is lost");
    }

    /// The device has no power for as long as a boot takes.
    pub fn power_cycle(&mut self, now: Duration) {
        self.advance(now);
        self.power_off();
    }

    pub(crate) fn go_down(&mut self) {
        self.is_up = false;
        self.cancel(|timer| timer.ends_with_the_supervisor() || matches!(timer, Timer::SupervisorUp));
        self.apply = Apply::default();
        self.pull_failures = PullFailures::default();
        self.restart = None;
        for container in &mut self.containers {
            container.stopping = false;
        }
        // What was being stopped still stops, but is not removed afterwards.
        for why in self.stopping.values_mut() {
            *why = StopReason::Manual;
        }
        let apps: Vec<u64> = self.commits.keys().copied().collect();
        for app in apps {
            self.locks.release(app);
        }
        self.effects.push(Effect::Down);
        self.note("the Supervisor's process has ended");
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

    /// Containers start with the engine, keep their ids, and the state is `applied` (observed).
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.locks.clear();
        self.effects.push(Effect::Booted);
        // `always` starts at boot whatever happened before; `unless-stopped` remembers `docker stop`.
        let due: Vec<String> = self
            .containers
            .iter()
            .filter(|container| match container.config.restart() {
                "no" | "on-failure" => false,
                "unless-stopped" => !container.stopped_manually,
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
        self.is_up = true;
        self.effects.push(Effect::Up);
        self.note("the Supervisor has started");
        if self.target_version > 0 {
            self.trigger(false, false);
        }
    }
}
