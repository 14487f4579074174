//! Staging: checks before anything is touched.

use super::State;
use super::applying::Applying;
use super::failed::Failed;
use super::updating::{was_handed_over, watch_superseded};
use super::waiting::Waiting;
use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{Inspection, SupervisorError};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::Input;
use crate::lifecycle::supervisor_target::agent_user;
use crate::lifecycle::supervisor_target::builder::{self, Refusal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::gate::gate;
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use crate::lifecycle::update::restarts::Restarts;
use crate::lifecycle::update::rollback;
use crate::lifecycle::update::target::Release;
use baseos_interfaces::codes::ErrorCode;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// The release is being checked against what the Supervisor has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Staging {
    pub(crate) update: Box<Update>,
    #[serde(skip)]
    look: Unsaved<Option<OpId>>,
    #[serde(skip)]
    failures: Unsaved<u32>,
    #[serde(default)]
    restarts: Restarts,
}

impl Staging {
    pub(super) fn new(update: Box<Update>) -> Self {
        Self {
            update,
            look: Unsaved(None),
            failures: Unsaved(0),
            restarts: Restarts::none(),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Shared, cx: &mut Context) {
        l.durable.consent.offer(self.update.commit(), cx.now);
        match self.restarts.enter("it checked the release", cx.now) {
            Some(pause) => {
                l.timers.arm(Timer::Retry, pause.until);
                self.update.set_blocked(vec![pause.blocker]);
            }
            None => self.look(l, cx),
        }
    }

    pub(super) fn exit(&mut self, l: &mut Shared) {
        if let Some(op) = self.look.take() {
            l.in_flight.forget(op);
        }
    }

    fn look(&mut self, l: &mut Shared, cx: &mut Context) {
        *self.look = Some(l.in_flight.ask_supervisor(SupervisorCall::Inspect, cx));
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Event(Event::Elapsed(Timer::Retry)) => {
                l.timers.disarm(Timer::Retry);
                self.look(l, cx);
                Outcome::Handled
            }
            Input::Event(Event::SupervisorAnswered { op, answer }) if *self.look == Some(*op) => {
                *self.look = None;
                match &**answer {
                    Ok(SupervisorAnswer::Inspected(inspection)) => self.looked(inspection, l, cx),
                    Ok(_) => Outcome::Handled,
                    Err(error) => {
                        self.try_later(error, l, cx);
                        Outcome::Handled
                    }
                }
            }
            Input::Event(event) => watch_superseded(l, event, cx),
            Input::Signal(_) => Outcome::Super,
        }
    }

    fn looked(&mut self, inspection: &Inspection, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        l.durable.target.adopt(inspection, &l.run);
        if let Some(reason) = self.update.release.refused.clone() {
            let error = UpdateError::new(ErrorCode::ReleaseRefused, reason.clone(), vec![reason], cx.now);
            return Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)));
        }
        if !inspection.view.managed
            && let Err(refusal) = check(&self.update.release, l)
        {
            let error = UpdateError::new(
                ErrorCode::ReleaseRefused,
                refusal.to_string(),
                refusal.evidence(),
                cx.now,
            );
            return Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)));
        }
        let own = self.update.release.services.get(&l.run.own_service);
        let user = own.zip(l.run.state_owner);
        if let Some(problem) = user.and_then(|(own, owner)| agent_user::problem(&own.composition, owner)) {
            let message =
                format!("the release gives the agent a user that could not use its state: {problem}");
            let error = UpdateError::new(ErrorCode::ReleaseRefused, message, vec![problem], cx.now);
            return Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)));
        }
        let problems = own.map(|own| (l.settings_check)(&own.environment, &l.run.own_service));
        if let Some(problems) = problems.filter(|problems| !problems.is_empty()) {
            let first = problems.first().map_or("", String::as_str);
            let message = format!("the release gives the agent settings that would stop it: {first}");
            let error = UpdateError::new(ErrorCode::ReleaseRefused, message, problems, cx.now);
            return Outcome::Transition(State::Failed(Failed::give_up(l, &self.update, error, cx)));
        }
        self.update.rollback = Some(rollback::prepare(l, &self.update, inspection));
        if was_handed_over(&self.update, l) && l.durable.target.is_target(inspection, self.update.commit()) {
            // The Supervisor is at it already and asks no gate.
            return Outcome::Transition(State::Applying(Applying::new(l, &self.update, cx)));
        }
        begin_or_wait(&self.update, l, cx)
    }

    fn try_later(&mut self, error: &SupervisorError, l: &mut Shared, cx: &Context) {
        self.restarts.survived();
        let blocker = Blocker::supervisor_unavailable(error, cx.now).continuing(self.update.blocked());
        self.update.set_blocked(vec![blocker]);
        let delay = backoff::SUPERVISOR.delay(*self.failures, cx.now.entropy);
        l.timers.arm(Timer::Retry, cx.now.boot + delay);
        *self.failures = self.failures.saturating_add(1);
    }
}

/// Whether the release may reach this device's Supervisor.
fn check(release: &Release, l: &Shared) -> Result<(), Refusal> {
    let (record, durable) = (&l.durable.target, &l.durable);
    builder::check(record, release, durable.history(release), &l.run.own_service)?;
    builder::check_new_images(record, release, durable.proven.iter().chain(&durable.previous))
}

/// Nothing speaks against the release: begin, or say why not yet.
pub(super) fn begin_or_wait(update: &Update, l: &mut Shared, cx: &Context) -> Outcome<State> {
    let gate = gate(l, update, cx.now);
    if gate.blocked.is_empty() {
        return Outcome::Transition(State::Applying(Applying::new(l, update, cx)));
    }
    Outcome::Transition(State::Waiting(Waiting::new(update, gate.blocked, cx)))
}
