//! Running the model: its timers, and what it wants done outside.

use crate::device::process;
use crate::device::shared::{PendingAnswer, ProcessCommand, Shared};
use crate::supervisor::{Effect, Supervisor};
use crate::sync::lock;
use std::sync::Arc;
use std::time::Duration;

/// Advances the model whenever something is due.
pub(crate) async fn run_timers(shared: Arc<Shared>) {
    loop {
        let deadline = shared.update_without_wake(|model, now| {
            model.advance(now);
            model.next_deadline()
        });
        let wait = deadline.map(|at| at.saturating_sub(shared.clock.now()));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = crate::clock::sleep(wait.unwrap_or(Duration::from_secs(3600))) => {}
        }
    }
}

impl Shared {
    /// Reads or changes the model, then carries out the effects.
    pub(crate) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        let result = self.update_without_wake(act);
        self.wake.notify_one();
        result
    }

    /// For [`run_timers`], which must not wake itself.
    fn update_without_wake<T>(self: &Arc<Self>, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        // Effects are carried out in the order of the model's decisions, also when two threads come at once.
        let _turn = lock(&self.turn);
        let (result, effects, boots) = {
            let mut model = lock(&self.model);
            let result = act(&mut model, self.clock.now());
            (result, model.take_effects(), model.boots())
        };
        for effect in effects {
            self.carry_out(effect, boots);
        }
        result
    }

    fn carry_out(self: &Arc<Self>, effect: Effect, boots: u64) {
        let command = |container: &str, command: ProcessCommand| {
            if let Some(process) = self.processes().get(container) {
                let _ = process.commands.send(command);
            }
        };
        match effect {
            Effect::Start(start) => {
                let (shared, container, incarnation) =
                    (Arc::clone(self), start.container.clone(), start.incarnation);
                process::start(self, start, move |code| {
                    shared.with(|model, now| model.process_exited(now, &container, incarnation, code));
                });
            }
            Effect::Stop { container, grace } => command(&container, ProcessCommand::Stop(grace)),
            Effect::Kill { container } => command(&container, ProcessCommand::Kill),
            Effect::Answer { ticket, answer } => {
                let mut pending = lock(&self.pending_answers);
                match pending.remove(&ticket) {
                    Some(PendingAnswer::Caller(caller)) => drop(caller.send(answer)),
                    _ => drop(pending.insert(ticket, PendingAnswer::Early(answer))),
                }
            }
            Effect::MakeVolume { name } => drop(std::fs::create_dir_all(self.volume_dir(&name))),
            Effect::WipeVolume { name } => drop(std::fs::remove_dir_all(self.volume_dir(&name))),
            Effect::SystemLine { line, is_error } => self.log_streams.send_system_line(&line, is_error),
            Effect::Down => {
                self.log_streams.close_all();
                lock(&self.pending_answers).clear();
                self.set_supervisor_up(false);
            }
            Effect::Up => self.set_supervisor_up(true),
            Effect::Booted => self.write_boot_id(boots),
        }
    }
}
