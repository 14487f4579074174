//! The loop. `select!` only chooses the next thing; what follows it does it.

use crate::failpoint;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::{Checkpoint, Event, Machine, Step};
use crate::runtime::bus::{Bus, DeadSource};
use crate::runtime::clock::Clock;
use crate::runtime::contact_log::ContactLog;
use crate::runtime::dispatch::Dispatch;
use crate::runtime::journal::Journal;
use crate::telemetry::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// Longest sleep: the boot-time clock goes on while the machine is suspended, tokio's does not.
const NAP: Duration = Duration::from_secs(60);
/// How long a stop may take in all before the loop leaves without its goodbye.
const PARK: Duration = Duration::from_secs(8);

/// Writes checkpoints; what it returns `Ok` for is on disk.
pub trait CheckpointSink: Send {
    /// Writes one.
    ///
    /// # Errors
    /// In words. The one before stays valid.
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String>;
}

/// Everything the loop works with.
pub struct Drive<C, S> {
    /// The machine.
    pub machine: Machine,
    /// The clock.
    pub clock: C,
    /// Where checkpoints go.
    pub sink: S,
    /// Where events are recorded.
    pub journal: Journal,
    /// Where effects go.
    pub dispatch: Dispatch,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    unsaved: Option<Box<Checkpoint>>,
    problem: Option<String>,
    own: VecDeque<Event>,
    contact_log: ContactLog,
}

enum Next {
    Own(Event),
    Due,
    Event(Event),
    Dead(DeadSource),
    Stop,
    GiveUp,
}

impl<C: Clock, S: CheckpointSink> Drive<C, S> {
    /// Puts the loop together.
    pub fn new(
        machine: Machine,
        clock: C,
        sink: S,
        journal: Journal,
        dispatch: Dispatch,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (unsaved, problem, own) = (None, None, VecDeque::new());
        Self {
            machine,
            clock,
            sink,
            journal,
            dispatch,
            metrics,
            unsaved,
            problem,
            own,
            contact_log: ContactLog::default(),
        }
    }

    /// Runs until the machine says stop. `first` is the step the machine was resumed with.
    ///
    /// # Errors
    /// A source ended; the process should exit and be started anew.
    pub async fn run(mut self, first: Step, mut bus: Bus, stop: CancellationToken) -> Result<(), DeadSource> {
        let now = self.clock.stamp();
        if self.carry_out(first, now) {
            return Ok(());
        }
        let mut stopping = false;
        let park = tokio::time::sleep_until(far());
        tokio::pin!(park);
        loop {
            let nap = self
                .machine
                .next_timer()
                .map_or(NAP, |(_, at)| self.clock.until(at).min(NAP));
            let next = match self.own.pop_front() {
                Some(event) => Next::Own(event),
                None => tokio::select! {
                    biased;
                    () = stop.cancelled(), if !stopping => Next::Stop,
                    () = &mut park, if stopping => Next::GiveUp,
                    event = bus.next() => match event {
                        Some(Ok(event)) => Next::Event(event),
                        Some(Err(dead)) => Next::Dead(dead),
                        None => Next::Dead(DeadSource("bus")),
                    },
                    () = pause(nap) => Next::Due,
                },
            };
            let event = match next {
                Next::Own(event) | Next::Event(event) => event,
                Next::Due => match self.elapsed() {
                    Some(event) => event,
                    None => continue,
                },
                Next::Stop => {
                    stopping = true;
                    park.as_mut().reset(soon(PARK));
                    Event::StopRequested
                }
                Next::GiveUp => {
                    tracing::warn!("stopping without a goodbye: it took too long");
                    return Ok(());
                }
                Next::Dead(dead) => {
                    tracing::error!(source = dead.0, "an event source ended");
                    return Err(dead);
                }
            };
            if self.turn(&event) {
                return Ok(());
            }
        }
    }

    /// The timer that is due, if it is due already.
    fn elapsed(&mut self) -> Option<Event> {
        let (timer, at) = self.machine.next_timer()?;
        (at <= self.clock.stamp().boot).then_some(Event::Elapsed(timer))
    }

    /// One turn; true: the machine says stop.
    fn turn(&mut self, event: &Event) -> bool {
        let now = self.clock.stamp();
        self.metrics.event(event);
        self.journal.record(now, event);
        let step = self.machine.step(event, now);
        if step.ignored {
            self.metrics.ignored();
            tracing::debug!(event = event.name(), state = %self.machine.agent_state(), "no state handles this event");
        }
        self.carry_out(step, now)
    }

    fn carry_out(&mut self, step: Step, now: Stamp) -> bool {
        for moved in &step.transitions {
            self.metrics.transition(moved.from, moved.to);
            let op = step.effects.iter().find_map(Effect::op).map(|op| op.to_string());
            let target = moved.target.as_deref();
            tracing::info!(
                from = %moved.from, to = %moved.to, cause = %moved.cause, attempt = moved.attempt, target, op,
                "{} -> {} ({})", moved.from, moved.to, moved.cause
            );
        }
        self.metrics.state(self.machine.agent_state());
        self.contact_log.update(&self.machine);
        if step.checkpoint.is_some() {
            self.unsaved = step.checkpoint;
        }
        self.save(now);
        let mut stop = false;
        for effect in step.effects {
            self.metrics.effect(&effect);
            tracing::debug!(
                effect = effect.name(),
                op = effect.op().map(|op| op.to_string()),
                "effect"
            );
            stop |= matches!(effect, Effect::Stop);
            match &self.problem {
                Some(problem) if effect.needs_checkpoint() => {
                    tracing::warn!(effect = effect.name(), %problem, "withheld: the state cannot be saved");
                    self.dispatch.refuse(&effect, problem);
                    self.own.push_back(Event::Withheld {
                        op: effect.op(),
                        request: effect.request(),
                        problem: problem.clone(),
                    });
                }
                _ => self.dispatch.send(effect),
            }
        }
        stop
    }

    /// Writes the newest checkpoint before any effect leaves. One that could not be written is tried again with
    /// every turn; until then nothing that it must remember is begun.
    fn save(&mut self, now: Stamp) {
        let Some(checkpoint) = &self.unsaved else { return };
        failpoint::hit("checkpoint.before");
        let problem = match self.sink.save(checkpoint) {
            Ok(()) => {
                self.journal.checkpoint(checkpoint, now);
                self.journal.flush();
                self.unsaved = None;
                None
            }
            Err(problem) => Some(problem),
        };
        failpoint::hit("checkpoint.after");
        if problem != self.problem {
            match &problem {
                Some(problem) => {
                    tracing::error!(%problem, "the state cannot be saved; the one before stays valid");
                }
                None => tracing::info!("the state can be saved again"),
            }
            self.problem.clone_from(&problem);
            self.own.push_back(Event::StateWritten { problem });
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the loop owns the one sleep; its length comes from the machine"
)]
fn pause(nap: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(nap)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bound on a clean stop is the process's, not the machine's"
)]
fn soon(after: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + after
}

fn far() -> tokio::time::Instant {
    soon(Duration::from_secs(365 * 24 * 3600))
}
