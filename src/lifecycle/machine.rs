//! The machine: one event in, a step out.
//!
//! statig dispatches (leaf first, then its superstates); the tables it needs are in `states/mod.rs`. This file is
//! what the rest of the agent sees: [`Machine::resume`], [`Machine::step`], [`Machine::next_timer`].

use crate::lifecycle::checkpoint::{Checkpoint, VERSION};
use crate::lifecycle::context::Context;
use crate::lifecycle::durable::Durable;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::{CallFailure, Run, SupervisorError};
use crate::lifecycle::guard::restored;
use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::settings_check::{SettingsCheck, takes_all};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::states::State;
use crate::lifecycle::time::{Millis, Reboot, Stamp};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::transition::Transition;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::states::AgentState;
use baseos_interfaces::token::TokenId;
use serde::Serialize;
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt as _};

/// What one event led to.
#[derive(Clone, Debug, Default, Serialize)]
#[must_use = "its checkpoint is to be written and its effects are to be carried out"]
pub struct Step {
    /// Requests to the world, in order. They leave after the checkpoint is on disk.
    pub effects: Vec<Effect>,
    /// Moves, in order; each is one line in the log.
    pub transitions: Vec<Transition>,
    /// No state handled the event.
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
    inner: InitializedStateMachine<Shared>,
    saved: Option<Saved>,
}

/// The last checkpoint that was returned.
#[derive(Clone)]
struct Saved {
    state: State,
    durable: Durable,
    touches: u64,
}

/// How the agent stands with its neighbours, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Why Cloudly did not accept the last heartbeat; `None`: it did, or there was none.
    pub cloudly_failure: Option<&'a CallFailure>,
    /// Whether Cloudly has accepted a heartbeat in this run.
    pub cloudly_heard: bool,
    /// Why the Supervisor is not available; `None`: it is, or it was not looked at yet.
    pub supervisor_error: Option<&'a SupervisorError>,
    /// Why the last try of this run to register failed.
    pub registering: Option<&'a str>,
    /// The join token that Cloudly refused, and why; none was accepted since.
    pub refused_join_token: Option<(&'a TokenId, &'a str)>,
    /// Whether the node has an identity.
    pub enrolled: bool,
}

impl Machine {
    /// Starts from a checkpoint (`Checkpoint::default()` on a new device) and enters its state again.
    pub fn resume(checkpoint: Checkpoint, run: Run, now: Stamp) -> (Self, Step) {
        Self::resume_with(checkpoint, run, now, takes_all)
    }

    /// As [`Machine::resume`]; a release whose settings `check` finds fault with is refused.
    pub fn resume_with(checkpoint: Checkpoint, run: Run, now: Stamp, check: SettingsCheck) -> (Self, Step) {
        let Checkpoint {
            saved,
            mut state,
            mut durable,
            ..
        } = checkpoint;
        if durable.boot_id != run.boot_id {
            state.carry_over(Reboot { saved, now });
        }
        durable.begin(&run, saved, now);
        let restored = restored::take_note(&mut durable, &run, now);
        let offer = run.join.clone();
        let mut shared = Shared::new(durable, run, now);
        shared.settings_check = check;
        if let Some(problem) = shared.run.checkpoint_problem.clone() {
            let data = serde_json::json!({ "problem": problem });
            shared.record_event(now, EventKind::CheckpointUnusable, data);
        }
        let mut machine = shared.uninitialized_state_machine();
        *machine.state_mut() = state;
        let mut cx = Context::new(now, "resumed", Grants::Freely);
        let inner = machine.init_with_context(&mut cx);
        let mut machine = Self { inner, saved: None };
        if let Some(restored) = restored {
            cx.raise(Signal::GuardRestored(restored));
        }
        cx.raise(Signal::Entered);
        if let Some(offer) = offer {
            cx.raise(Signal::JoinOffered(offer));
        }
        let step = machine.finish(cx);
        (machine, step)
    }

    /// Takes in one event.
    pub fn step(&mut self, event: &Event, now: Stamp) -> Step {
        let mut cx = Context::new(now, event.name(), self.state().grants(self.shared()));
        self.inner.handle_with_context(&Input::Event(event), &mut cx);
        self.finish(cx)
    }

    fn finish(&mut self, mut cx: Context) -> Step {
        let (ignored, handler) = (cx.ignored, cx.asked);
        while let Some(signal) = cx.signals.pop_front() {
            cx.cause = signal.name();
            self.inner.handle_with_context(&Input::Signal(&signal), &mut cx);
        }
        self.inner
            .handle_with_context(&Input::Signal(&Signal::StepEnded), &mut cx);
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
        let (state, durable) = (self.inner.state(), &self.inner.inner().durable);
        if let Some(saved) = &mut self.saved
            && saved.state == *state
        {
            if saved.touches == durable.touches() {
                return None;
            }
            saved.touches = durable.touches();
            if saved.durable == **durable {
                return None;
            }
        }
        let (state, touches, durable) = (state.clone(), durable.touches(), (**durable).clone());
        self.saved = Some(Saved {
            state: state.clone(),
            durable: durable.clone(),
            touches,
        });
        Some(Box::new(Checkpoint {
            version: VERSION,
            saved: now.boot,
            state,
            durable,
        }))
    }

    /// The earliest deadline. When it comes, feed `Event::Elapsed` with it.
    pub fn next_timer(&self) -> Option<(Timer, Millis)> {
        self.shared().timers.next()
    }

    /// The leaf state's name.
    pub fn agent_state(&self) -> AgentState {
        self.state().name()
    }

    /// How the agent stands with its neighbours.
    pub fn contact(&self) -> Contact<'_> {
        let shared = self.shared();
        let registering = match self.state() {
            State::Registering(registering) => registering.problem_of_this_run(),
            _ => None,
        };
        let refused = shared.durable.join.refused();
        Contact {
            refused_join_token: refused.map(|refused| (&refused.token, refused.reason.as_str())),
            enrolled: shared.durable.node.is_some(),
            cloudly_failure: shared.heartbeats.last_failure(),
            cloudly_heard: shared.heartbeats.last_contact().is_some(),
            supervisor_error: shared.supervisor.as_ref().and_then(|seen| seen.as_ref().err()),
            registering,
        }
    }

    pub(crate) fn state(&self) -> &State {
        self.inner.state()
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.inner.inner()
    }
}
