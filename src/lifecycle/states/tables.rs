//! The tables statig needs, written by hand: every match is exhaustive, so a new state or event that is not wired
//! does not compile.

use super::rollback_needed::RollbackNeeded;
use super::{State, Superstate, enrolled, root, updating};
use crate::lifecycle::context::Context;
use crate::lifecycle::guard::restored;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::step_end::end_step;
use crate::lifecycle::transition::Transition;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::local::Notice;
use statig::blocking::{self, IntoStateMachine};
use statig::{Outcome, StateOrSuperstate};

impl IntoStateMachine for Shared {
    type Event<'evt> = Input<'evt>;
    type Context<'ctx> = Context;
    type State = State;
    type Superstate<'sub> = Superstate<'sub>;

    fn initial() -> State {
        State::default()
    }

    fn before_dispatch(
        &mut self,
        asked: StateOrSuperstate<'_, State, Superstate<'_>>,
        _: &Input<'_>,
        cx: &mut Context,
    ) {
        cx.asked = match asked {
            StateOrSuperstate::State(state) => state.name().as_str(),
            StateOrSuperstate::Superstate(superstate) => superstate.name(),
        };
    }

    fn after_transition(&mut self, source: &State, target: &State, cx: &mut Context) {
        let update = target.update();
        let moved = Transition {
            from: source.name(),
            to: target.name(),
            cause: cx.cause.to_owned(),
            by: cx.asked.to_owned(),
            attempt: update.map(|update| update.attempt),
            target: update.map(|update| update.release.commit.clone()),
        };
        let data = serde_json::json!({
            "from": moved.from, "to": moved.to, "cause": moved.cause, "target": moved.target,
        });
        self.record_event(cx.now, EventKind::Transition, data);
        self.heartbeats.urge();
        cx.raise(Signal::Entered);
        cx.publish(Notice::Transition {
            from: moved.from,
            to: moved.to,
            cause: moved.cause.clone(),
        });
        cx.transitions.push(moved);
    }
}

impl blocking::State<Shared> for State {
    fn call_handler(&mut self, l: &mut Shared, input: &Input<'_>, cx: &mut Context) -> Outcome<Self> {
        let input = *input;
        match input {
            Input::Signal(Signal::StepEnded) => {
                end_step(l, self, cx);
                return Outcome::Handled;
            }
            Input::Event(event) => {
                if !root::absorb(l, event, cx) {
                    cx.ignored = true;
                    return Outcome::Handled;
                }
                // Comes first: a state that does not know it would hand the release over again.
                if let Some(restored) = restored::infer(l, event, cx.now)
                    && let Some(update) = self.update().filter(|update| update.commit() == restored.commit)
                {
                    let reported = matches!(&*self, Self::RollbackNeeded(bad) if bad.is_reported());
                    let bad = RollbackNeeded::by_guard(l, update, &restored, cx).reported(reported);
                    return Outcome::Transition(Self::RollbackNeeded(bad));
                }
            }
            Input::Signal(_) => {}
        }
        match self {
            Self::Unenrolled(state) => state.handle(l, input),
            Self::Registering(state) => state.handle(l, input, cx),
            Self::Idle(state) => state.handle(l, input, cx),
            Self::Staging(state) => state.handle(l, input, cx),
            Self::Waiting(state) => state.handle(l, input, cx),
            Self::Applying(state) => state.handle(l, input, cx),
            Self::Verifying(state) => state.handle(l, input, cx),
            Self::Failed(state) => state.handle(l, input, cx),
            Self::RollbackNeeded(state) => state.handle(l, input, cx),
        }
    }

    fn call_entry_action(&mut self, l: &mut Shared, cx: &mut Context) {
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

    fn call_exit_action(&mut self, l: &mut Shared, _: &mut Context) {
        l.timers.disarm_all(self.timers());
        match self {
            Self::Staging(state) => state.exit(l),
            Self::Applying(state) => state.handover.abandon(l),
            Self::Verifying(state) => state.exit(l),
            Self::RollbackNeeded(state) => state.exit(l),
            Self::Unenrolled(_)
            | Self::Registering(_)
            | Self::Idle(_)
            | Self::Waiting(_)
            | Self::Failed(_) => {}
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

impl blocking::Superstate<Shared> for Superstate<'_> {
    fn call_handler(&mut self, l: &mut Shared, input: &Input<'_>, cx: &mut Context) -> Outcome<State> {
        match self {
            Self::Updating(update) => updating::handle(update, l, *input, cx),
            Self::Enrolled => enrolled::handle(l, *input, cx),
            Self::Root => root::handle(l, *input, cx),
        }
    }

    fn call_entry_action(&mut self, l: &mut Shared, cx: &mut Context) {
        match self {
            Self::Enrolled => enrolled::enter(l, cx),
            Self::Updating(_) | Self::Root => {}
        }
    }

    fn call_exit_action(&mut self, l: &mut Shared, _: &mut Context) {
        l.timers.disarm_all(self.timers());
    }

    fn superstate(&mut self) -> Option<Superstate<'_>> {
        match self {
            Self::Root => None,
            Self::Enrolled => Some(Superstate::Root),
            Self::Updating(_) => Some(Superstate::Enrolled),
        }
    }
}
