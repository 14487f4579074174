//! The event loop. It has two phases: `select!` only chooses what is next, and the code after it does it.

use crate::failpoint;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::{Checkpoint, Event, Machine, Step};
use crate::runtime::alarm::Alarm;
use crate::runtime::bus::{Bus, DeadSource};
use crate::runtime::clock::Clock;
use crate::runtime::contact_log::ContactLog;
use crate::runtime::dispatch::Dispatch;
use crate::runtime::journal::Journal;
use crate::telemetry::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::consume_budget;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// Time limit of a stop; after it the loop ends even if the last heartbeat was not sent.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Where checkpoints are saved.
pub trait CheckpointSink: Send {
    /// Writes a checkpoint; after `Ok` it is on disk, fsynced.
    ///
    /// # Errors
    /// The reason as text. The previous checkpoint stays valid.
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), String>;
}

/// The machine and everything that the loop drives it with.
pub struct Drive<C, A, S> {
    pub machine: Machine,
    pub clock: C,
    pub alarm: A,
    pub sink: S,
    pub journal: Journal,
    pub dispatch: Dispatch,
    pub metrics: Arc<Metrics>,
    /// The newest checkpoint, while it is not on disk.
    unsaved: Option<Box<Checkpoint>>,
    /// Why the last save failed.
    save_error: Option<String>,
    /// Events of the loop itself; they come before those of the bus.
    internal: VecDeque<Event>,
    contact_log: ContactLog,
}

/// What the loop does next.
enum Next {
    Internal(Event),
    Timer,
    Event(Event),
    SourceEnded(DeadSource),
    Stop,
    StopTimeout,
}

impl<C: Clock, A: Alarm, S: CheckpointSink> Drive<C, A, S> {
    pub fn new(
        machine: Machine,
        clock: C,
        alarm: A,
        sink: S,
        journal: Journal,
        dispatch: Dispatch,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            contact_log: ContactLog::new(&machine),
            machine,
            clock,
            alarm,
            sink,
            journal,
            dispatch,
            metrics,
            unsaved: None,
            save_error: None,
            internal: VecDeque::new(),
        }
    }

    /// Runs until the machine emits `Stop`. `first` is the step with which the machine was resumed.
    ///
    /// # Errors
    /// When a source has ended; the process should exit and be restarted.
    pub async fn run(mut self, first: Step, mut bus: Bus, stop: CancellationToken) -> Result<(), DeadSource> {
        let now = self.clock.stamp();
        // From here on the transitions tell the state.
        self.metrics.state(self.machine.agent_state());
        if self.carry_out(first, now) {
            return Ok(());
        }
        let mut stopping = false;
        let stop_deadline = tokio::time::sleep_until(far_future());
        tokio::pin!(stop_deadline);
        loop {
            let at = self.machine.next_timer().map(|(_, at)| at);
            let is_due = at.is_some_and(|at| at <= self.clock.stamp().boot);
            let next = match self.internal.pop_front() {
                Some(event) => Next::Internal(event),
                None => tokio::select! {
                    biased;
                    () = stop.cancelled(), if !stopping => Next::Stop,
                    () = &mut stop_deadline, if stopping => Next::StopTimeout,
                    // Before the bus: a source that always has an event must not hold back what is due.
                    () = consume_budget(), if is_due => Next::Timer,
                    event = bus.next() => match event {
                        Some(Ok(event)) => Next::Event(event),
                        Some(Err(ended)) => Next::SourceEnded(ended),
                        None => Next::SourceEnded(DeadSource("bus")),
                    },
                    () = self.alarm.until(at) => Next::Timer,
                },
            };
            let event = match next {
                Next::Internal(event) | Next::Event(event) => event,
                Next::Timer => match self.elapsed_timer() {
                    Some(event) => event,
                    None => continue,
                },
                Next::Stop => {
                    stopping = true;
                    stop_deadline.as_mut().reset(deadline_in(STOP_TIMEOUT));
                    Event::StopRequested
                }
                Next::StopTimeout => {
                    tracing::warn!(timeout = ?STOP_TIMEOUT, "stopping without the last heartbeat: it took too long");
                    return Ok(());
                }
                Next::SourceEnded(ended) => {
                    tracing::error!(source = ended.0, "an event source ended");
                    return Err(ended);
                }
            };
            if self.process(&event) {
                return Ok(());
            }
        }
    }

    /// The event of the earliest timer, if its deadline has come.
    fn elapsed_timer(&mut self) -> Option<Event> {
        let (timer, at) = self.machine.next_timer()?;
        (at <= self.clock.stamp().boot).then_some(Event::Elapsed(timer))
    }

    /// Records an event, steps the machine and carries out the step. True when the machine stops.
    fn process(&mut self, event: &Event) -> bool {
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
        for transition in &step.transitions {
            self.metrics.transition(transition.from, transition.to);
            let op = step.effects.iter().find_map(Effect::op).map(|op| op.to_string());
            let target = transition.target.as_deref();
            tracing::info!(
                from = %transition.from, to = %transition.to, cause = %transition.cause,
                attempt = transition.attempt, target, op,
                "{} -> {} ({})", transition.from, transition.to, transition.cause
            );
        }
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
            match &self.save_error {
                Some(problem) if effect.needs_checkpoint() => {
                    tracing::warn!(effect = effect.name(), %problem, "withheld: the state cannot be saved");
                    self.dispatch.refuse(&effect, problem);
                    self.internal.push_back(Event::Withheld {
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

    /// Writes the newest checkpoint before any effect is dispatched. One that could not be written is tried again with
    /// every event; until then the effects that need it are withheld.
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
        if problem != self.save_error {
            match &problem {
                Some(problem) => {
                    tracing::error!(%problem, "the state cannot be saved; the previous one stays valid");
                }
                None => tracing::info!("the state can be saved again"),
            }
            self.save_error.clone_from(&problem);
            self.internal.push_back(Event::StateWritten { problem });
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time limit of a stop belongs to the process, not to the machine"
)]
fn deadline_in(after: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + after
}

fn far_future() -> tokio::time::Instant {
    deadline_in(Duration::from_secs(365 * 24 * 3600))
}
