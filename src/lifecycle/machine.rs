//! The machine: one event in, a step out.
//!
//! statig dispatches (leaf first, then its superstates); the tables it needs are in `states/mod.rs`. This file is
//! what the rest of the agent sees: [`Machine::resume`], [`Machine::step`], [`Machine::next_timer`].

use crate::lifecycle::beats::Beats;
use crate::lifecycle::book::{Book, Tracked};
use crate::lifecycle::checkpoint::{Checkpoint, VERSION};
use crate::lifecycle::context::{Context, Transition};
use crate::lifecycle::effect::{Effect, Pace, RequestId};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{HostFacts, JoinOffer, Run, SupervisorError, SupervisorView};
use crate::lifecycle::health::Issues;
use crate::lifecycle::leases::Leases;
use crate::lifecycle::lock_files::LockFiles;
use crate::lifecycle::ports::Ports;
use crate::lifecycle::states::State;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::{Timer, Timers};
use baseos_interfaces::Timestamp;
use baseos_interfaces::local::Notice;
use baseos_interfaces::states::AgentState;
use serde::Serialize;
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt as _};

/// What all states share: the book, which survives a restart, and what a new process finds out again.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// What survives a restart.
    pub book: Tracked<Book>,
    /// The facts of this run.
    pub run: Run,
    /// Who is busy.
    pub ports: Ports,
    /// Deadlines.
    pub timers: Timers,
    /// The conversation with Cloudly.
    pub beats: Beats,
    /// The last look at the Supervisor; `None`: not looked yet.
    pub supervisor: Option<Result<SupervisorView, SupervisorError>>,
    /// The last look at the host.
    pub host: HostFacts,
    /// Whether there was one in this run.
    pub(super) host_seen: bool,
    /// What is not as it should be.
    pub issues: Issues,
    /// balena's update-lock files.
    pub lock_files: LockFiles,
    /// Why the checkpoint cannot be written; `None`: it can.
    pub state_problem: Option<String>,
    /// The join token that lies ready.
    pub offer: Option<JoinOffer>,
    /// When this run began, device's clock.
    pub started_at: Timestamp,
    /// The leases as they were before the one that was granted last, and whose request that was: a grant that does
    /// not reach the disk does not reach its asker either, and must not hold anything.
    pub(super) granted: Option<(RequestId, Leases)>,
    pub(super) stopping: bool,
    pub(super) pace: Pace,
    pub(super) last_notices: Vec<Notice>,
}

impl Lifecycle {
    /// The Supervisor's state, when it answers.
    pub fn view(&self) -> Option<&SupervisorView> {
        self.supervisor.as_ref()?.as_ref().ok()
    }

    pub(super) fn container_ids(&self) -> Vec<String> {
        let containers = self
            .view()
            .map(|view| view.containers.as_slice())
            .unwrap_or_default();
        let mut ids: Vec<_> = containers
            .iter()
            .map(|container| container.container_id.clone())
            .collect();
        ids.sort_unstable();
        ids
    }
}

/// What one event led to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Requests to the world, in order. They leave after the checkpoint is on disk.
    pub effects: Vec<Effect>,
    /// Moves, in order; each is one line in the log.
    pub transitions: Vec<Transition>,
    /// Nobody was interested.
    pub ignored: bool,
    /// Who decided: the innermost state that did not pass the event on.
    pub handler: &'static str,
    /// What to write to disk; `None`: nothing that matters has changed.
    #[serde(skip)]
    pub checkpoint: Option<Box<Checkpoint>>,
}

/// The lifecycle machine. Deterministic: the same checkpoint, run and events give the same steps.
#[derive(Clone)]
pub struct Machine {
    inner: InitializedStateMachine<Lifecycle>,
    saved: Option<Saved>,
}

/// The last checkpoint that was returned.
#[derive(Clone)]
struct Saved {
    state: State,
    book: Book,
    touches: u64,
}

impl Machine {
    /// Starts from a checkpoint (`Checkpoint::default()` on a new device) and enters its state again.
    pub fn resume(checkpoint: Checkpoint, run: Run, now: Stamp) -> (Self, Step) {
        let Checkpoint {
            saved,
            mut state,
            mut book,
            ..
        } = checkpoint;
        if book.boot_id != run.boot_id {
            state.carry_over(saved, now);
        }
        book.begin(&run, saved, now);
        let mut beats = Beats::default();
        if let Some(node) = &book.node {
            beats.configure(node);
        }
        let offer = run.join.clone();
        let lifecycle = Lifecycle {
            ports: Ports::new(book.epoch),
            lock_files: LockFiles::default(),
            book: Tracked::new(book),
            timers: Timers::default(),
            beats,
            supervisor: None,
            host: HostFacts::default(),
            host_seen: false,
            issues: Issues::default(),
            state_problem: None,
            offer: offer.clone(),
            started_at: now.wall,
            granted: None,
            stopping: false,
            pace: Pace::Calm,
            last_notices: Vec::new(),
            run,
        };
        let mut machine = lifecycle.uninitialized_state_machine();
        *machine.state_mut() = state;
        let mut cx = Context::new(now, "resumed");
        let inner = machine.init_with_context(&mut cx);
        let mut machine = Self { inner, saved: None };
        cx.raise(Event::Entered);
        if let Some(offer) = offer {
            cx.raise(Event::JoinTokenOffered(offer));
        }
        let step = machine.finish(cx);
        (machine, step)
    }

    /// Takes in one event.
    pub fn step(&mut self, event: &Event, now: Stamp) -> Step {
        let mut cx = Context::new(now, event.name());
        cx.draining = self.state().is_draining();
        self.inner.handle_with_context(event, &mut cx);
        self.finish(cx)
    }

    fn finish(&mut self, mut cx: Context) -> Step {
        let (ignored, handler) = (cx.ignored, cx.asked);
        while let Some(event) = cx.raised.pop_front() {
            cx.cause = event.name();
            self.inner.handle_with_context(&event, &mut cx);
        }
        self.inner.handle_with_context(&Event::StepEnded, &mut cx);
        let checkpoint = self.changed(cx.now);
        Step {
            effects: cx.effects,
            transitions: cx.transitions,
            ignored,
            handler,
            checkpoint,
        }
    }

    /// The checkpoint, if it differs from the last one returned.
    fn changed(&mut self, now: Stamp) -> Option<Box<Checkpoint>> {
        let (state, book) = (self.inner.state(), &self.inner.inner().book);
        if let Some(saved) = &mut self.saved
            && saved.state == *state
        {
            if saved.touches == book.touches() {
                return None;
            }
            saved.touches = book.touches();
            if saved.book == **book {
                return None;
            }
        }
        let (state, touches, book) = (state.clone(), book.touches(), (**book).clone());
        self.saved = Some(Saved {
            state: state.clone(),
            book: book.clone(),
            touches,
        });
        Some(Box::new(Checkpoint {
            version: VERSION,
            saved: now.boot,
            state,
            book,
        }))
    }

    /// The earliest deadline. When it comes, feed `Event::Elapsed` with it.
    pub fn next_timer(&self) -> Option<(Timer, Millis)> {
        self.inner.inner().timers.next()
    }

    /// The leaf state.
    pub fn state(&self) -> &State {
        self.inner.state()
    }

    /// The leaf state's name.
    pub fn agent_state(&self) -> AgentState {
        self.state().name()
    }

    /// What all states share.
    pub fn lifecycle(&self) -> &Lifecycle {
        self.inner.inner()
    }
}
