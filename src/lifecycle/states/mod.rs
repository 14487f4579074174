//! The states, one file each, and the tables statig needs, written by hand: every match is exhaustive, so a new
//! state or event that is not wired does not compile.
//!
//! ```text
//! root
//! ├─ Unenrolled
//! ├─ Registering
//! └─ enrolled
//!    ├─ Idle
//!    ├─ updating
//!    │  ├─ Staging
//!    │  ├─ Waiting
//!    │  ├─ Applying
//!    │  └─ Verifying
//!    ├─ Failed
//!    └─ RollbackNeeded
//! ```

pub mod applying;
pub mod enrolled;
pub mod failed;
pub mod idle;
pub mod registering;
pub mod rollback_needed;
pub mod root;
pub mod staging;
pub mod unenrolled;
pub mod updating;
pub mod verifying;
pub mod waiting;

use crate::lifecycle::context::{Context, Transition};
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::policy;
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::Update;
use baseos_interfaces::local::Notice;
use baseos_interfaces::states::AgentState;
use serde::{Deserialize, Serialize};
use statig::blocking::{self, IntoStateMachine};
use statig::{Outcome, StateOrSuperstate};

/// The leaf states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// No node token.
    Unenrolled(unenrolled::Unenrolled),
    /// Asking Cloudly for an identity.
    Registering(registering::Registering),
    /// Enrolled; nothing to do.
    Idle(idle::Idle),
    /// Checking a release before anything is touched.
    Staging(staging::Staging),
    /// Ready, but held back.
    Waiting(waiting::Waiting),
    /// The Supervisor works on it.
    Applying(applying::Applying),
    /// It runs and must stay healthy.
    Verifying(verifying::Verifying),
    /// Given up.
    Failed(failed::Failed),
    /// It was put in place and is bad.
    RollbackNeeded(rollback_needed::RollbackNeeded),
}

/// The superstates; a leaf's update is lent to the superstate above it.
#[derive(Debug)]
pub enum Superstate<'a> {
    /// Everything.
    Root,
    /// There is a node token.
    Enrolled,
    /// An update is under way.
    Updating(&'a mut Update),
}

impl Default for State {
    fn default() -> Self {
        Self::Unenrolled(unenrolled::Unenrolled::default())
    }
}

impl State {
    /// Its name on the wire and in logs.
    pub fn name(&self) -> AgentState {
        match self {
            Self::Unenrolled(_) => AgentState::Unenrolled,
            Self::Registering(_) => AgentState::Registering,
            Self::Idle(_) => AgentState::Idle,
            Self::Staging(_) => AgentState::Staging,
            Self::Waiting(_) => AgentState::Waiting,
            Self::Applying(_) => AgentState::Applying,
            Self::Verifying(_) => AgentState::Verifying,
            Self::Failed(_) => AgentState::Failed,
            Self::RollbackNeeded(_) => AgentState::RollbackNeeded,
        }
    }

    /// The update under way.
    pub fn update(&self) -> Option<&Update> {
        match self {
            Self::Staging(state) => Some(&state.update),
            Self::Waiting(state) => Some(&state.update),
            Self::Applying(state) => Some(&state.update),
            Self::Verifying(state) => Some(&state.update),
            Self::RollbackNeeded(state) => Some(&state.update),
            Self::Unenrolled(_) | Self::Registering(_) | Self::Idle(_) | Self::Failed(_) => None,
        }
    }

    /// The rollout the present or last update belongs to.
    pub fn rollout(&self) -> Option<String> {
        let last = match self {
            Self::Idle(idle) => idle.last.as_ref(),
            Self::Failed(failed) => Some(&failed.last),
            _ => None,
        };
        self.update()
            .and_then(|update| update.rollout.clone())
            .or_else(|| last?.rollout.clone())
    }

    /// Whether there is a node token.
    pub fn is_enrolled(&self) -> bool {
        !matches!(self, Self::Unenrolled(_) | Self::Registering(_))
    }

    /// Whether services are being changed, or are about to be as soon as the locks end: no new lock is given.
    pub fn is_draining(&self) -> bool {
        match self {
            Self::Waiting(waiting) => policy::only_locks(&waiting.update.blocked),
            Self::Applying(_) | Self::Verifying(_) => true,
            Self::RollbackNeeded(bad) => bad.is_restoring(),
            Self::Unenrolled(_)
            | Self::Registering(_)
            | Self::Idle(_)
            | Self::Staging(_)
            | Self::Failed(_) => false,
        }
    }

    /// The timers a state may have armed.
    pub fn timers(&self) -> &'static [Timer] {
        match self {
            Self::Unenrolled(_) => &[Timer::Lease, Timer::Goodbye],
            Self::Registering(_) => &[Timer::Lease, Timer::Goodbye, Timer::Register],
            Self::Idle(_) | Self::Failed(_) => &[Timer::Lease, Timer::Goodbye, Timer::Heartbeat],
            Self::Staging(_) => &[Timer::Lease, Timer::Goodbye, Timer::Heartbeat, Timer::Retry],
            Self::Waiting(_) => &[Timer::Lease, Timer::Goodbye, Timer::Heartbeat, Timer::Recheck],
            Self::Applying(_) => &[
                Timer::Lease,
                Timer::Goodbye,
                Timer::Heartbeat,
                Timer::Retry,
                Timer::Deadline,
            ],
            Self::Verifying(_) | Self::RollbackNeeded(_) => &[
                Timer::Lease,
                Timer::Goodbye,
                Timer::Heartbeat,
                Timer::Retry,
                Timer::Deadline,
                Timer::Health,
            ],
        }
    }

    /// The device has rebooted since the checkpoint was written.
    pub(super) fn carry_over(&mut self, saved: Millis, now: Stamp) {
        let update = match self {
            Self::Registering(state) => return state.carry_over(saved, now),
            Self::Staging(state) => &mut state.update,
            Self::Waiting(state) => &mut state.update,
            Self::Applying(state) => &mut state.update,
            Self::Verifying(state) => &mut state.update,
            Self::RollbackNeeded(state) => &mut state.update,
            Self::Unenrolled(_) | Self::Idle(_) | Self::Failed(_) => return,
        };
        update.carry_over(saved, now);
    }
}

impl IntoStateMachine for Lifecycle {
    type Event<'evt> = Event;
    type Context<'ctx> = Context;
    type State = State;
    type Superstate<'sub> = Superstate<'sub>;

    fn initial() -> State {
        State::default()
    }

    fn before_dispatch(
        &mut self,
        asked: StateOrSuperstate<'_, State, Superstate<'_>>,
        event: &Event,
        cx: &mut Context,
    ) {
        if matches!(event, Event::StepEnded) {
            return;
        }
        cx.asked = match asked {
            StateOrSuperstate::State(state) => state.name().as_str(),
            StateOrSuperstate::Superstate(Superstate::Updating(_)) => "updating",
            StateOrSuperstate::Superstate(Superstate::Enrolled) => "enrolled",
            StateOrSuperstate::Superstate(Superstate::Root) => "root",
        };
    }

    fn after_transition(&mut self, source: &State, target: &State, cx: &mut Context) {
        let (from, to) = (source.name(), target.name());
        let cause = cx.cause.to_owned();
        let update = target.update();
        let target_commit = update.map(|update| update.release.commit.clone());
        let data = serde_json::json!({ "from": from, "to": to, "cause": cause, "target": target_commit });
        self.book.note(cx.now, "transition", data);
        self.beats.urge();
        cx.raise(Event::Entered);
        cx.publish(Notice::Transition {
            from,
            to,
            cause: cause.clone(),
        });
        let attempt = update.map(|update| update.attempt);
        let by = cx.asked.to_owned();
        cx.transitions.push(Transition {
            from,
            to,
            cause,
            by,
            attempt,
            target: target_commit,
        });
    }
}

impl blocking::State<Lifecycle> for State {
    fn call_handler(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<Self> {
        if matches!(event, Event::StepEnded) {
            l.end_step(self, cx);
            return Outcome::Handled;
        }
        if !l.absorb(event, cx) {
            cx.ignored = true;
            return Outcome::Handled;
        }
        match self {
            Self::Unenrolled(state) => state.handle(l, event),
            Self::Registering(state) => state.handle(l, event, cx),
            Self::Idle(state) => state.handle(l, event, cx),
            Self::Staging(state) => state.handle(l, event, cx),
            Self::Waiting(state) => state.handle(l, event, cx),
            Self::Applying(state) => state.handle(l, event, cx),
            Self::Verifying(state) => state.handle(l, event, cx),
            Self::Failed(state) => state.handle(l, event, cx),
            Self::RollbackNeeded(state) => state.handle(l, event, cx),
        }
    }

    fn call_entry_action(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        match self {
            Self::Registering(state) => state.enter(l, cx),
            Self::Staging(state) => state.enter(l, cx),
            Self::Waiting(state) => state.enter(l, cx),
            Self::Applying(state) => state.enter(l, cx),
            Self::Verifying(state) => state.enter(l),
            Self::RollbackNeeded(state) => state.enter(l, cx),
            Self::Unenrolled(_) | Self::Idle(_) | Self::Failed(_) => {}
        }
    }

    fn call_exit_action(&mut self, l: &mut Lifecycle, _: &mut Context) {
        match self {
            Self::Registering(_) => l.timers.disarm(Timer::Register),
            Self::Staging(state) => state.exit(l),
            Self::Waiting(_) => l.timers.disarm(Timer::Recheck),
            Self::Applying(state) => state.exit(l),
            Self::Verifying(_) => verifying::disarm(l),
            Self::RollbackNeeded(state) => state.exit(l),
            Self::Unenrolled(_) | Self::Idle(_) | Self::Failed(_) => {}
        }
    }

    fn superstate(&mut self) -> Option<Superstate<'_>> {
        Some(match self {
            Self::Unenrolled(_) | Self::Registering(_) => Superstate::Root,
            Self::Idle(_) | Self::Failed(_) | Self::RollbackNeeded(_) => Superstate::Enrolled,
            Self::Staging(state) => Superstate::Updating(&mut state.update),
            Self::Waiting(state) => Superstate::Updating(&mut state.update),
            Self::Applying(state) => Superstate::Updating(&mut state.update),
            Self::Verifying(state) => Superstate::Updating(&mut state.update),
        })
    }
}

impl blocking::Superstate<Lifecycle> for Superstate<'_> {
    fn call_handler(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match self {
            Self::Updating(update) => updating::handle(update, l, event, cx),
            Self::Enrolled => enrolled::handle(l, event, cx),
            Self::Root => root::handle(l, event, cx),
        }
    }

    fn call_entry_action(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        match self {
            Self::Enrolled => enrolled::enter(l, cx),
            Self::Updating(_) | Self::Root => {}
        }
    }

    fn call_exit_action(&mut self, l: &mut Lifecycle, _: &mut Context) {
        match self {
            Self::Enrolled => l.timers.disarm(Timer::Heartbeat),
            Self::Updating(_) | Self::Root => {}
        }
    }

    fn superstate(&mut self) -> Option<Superstate<'_>> {
        match self {
            Self::Root => None,
            Self::Enrolled => Some(Superstate::Root),
            Self::Updating(_) => Some(Superstate::Enrolled),
        }
    }
}
