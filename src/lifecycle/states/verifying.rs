//! Verifying: the release is in place and must stay healthy for `healthSeconds`.

use super::State;
use super::displaced::{Cause, displaced};
use super::idle::Idle;
use super::rollback_needed::RollbackNeeded;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::SupervisorView;
use crate::lifecycle::guard::trial;
use crate::lifecycle::progress::hindrance::{self, is_not_the_releases_fault};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::last_look::{LastLook, judge_again};
use crate::lifecycle::update::record::{Blocker, Update, UpdateError};
use crate::lifecycle::update::verification::{
    FOREGROUND, Outlook, Verification, containers, extend_deadline,
};
use baseos_interfaces::codes::ErrorCode;
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// How much longer a release is watched, at least, when the Supervisor is silent at its deadline.
const OUTAGE_EXTENSION: Duration = Duration::from_secs(60);
/// How often a healthy release is looked at whose agent has not proved itself yet.
const PROOF: Duration = Duration::from_secs(1);

/// An update that runs and is being watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verifying {
    pub(crate) update: Box<Update>,
    verification: Verification,
    /// Whether this process saw the release in place; a resumed one has to see it first.
    #[serde(skip)]
    seen: Unsaved<bool>,
    #[serde(skip)]
    last_look: LastLook,
}

/// What one look at the Supervisor shows.
struct Seen {
    judgement: Option<Judgement>,
    containers: Vec<String>,
}

impl Verifying {
    pub(super) fn new(update: &Update, cx: &Context) -> Self {
        Self {
            update: update.next_phase(cx.now.into()),
            verification: Verification::default(),
            seen: Unsaved(true),
            last_look: LastLook::default(),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Shared) {
        let policy = l.durable.policy();
        let allowed = policy.apply_timeout() + policy.health();
        l.timers.arm(Timer::Deadline, self.update.since.boot + allowed);
        self.verification.restart();
        if !*self.seen {
            self.verification.agent_started();
        }
    }

    pub(super) fn exit(&mut self, l: &mut Shared) {
        self.last_look.abandon(&mut l.in_flight);
    }

    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>, cx: &mut Context) -> Outcome<State> {
        match input {
            Input::Event(Event::SupervisorObserved(_)) | Input::Signal(Signal::Entered) => {
                self.observe(l, cx)
            }
            Input::Event(Event::ServiceExited { service }) if self.update.release.minds_exit(service) => {
                let outlook = self
                    .verification
                    .exited(service, l.watch_exit(FOREGROUND, cx.now));
                self.proceed(outlook, l, cx)
            }
            Input::Event(Event::Elapsed(Timer::Retry)) => {
                l.timers.disarm(Timer::Retry);
                self.observe(l, cx)
            }
            Input::Event(Event::Elapsed(Timer::Health)) => self.time_is_over(l, cx),
            Input::Event(Event::Elapsed(Timer::Deadline)) => self.overdue(l, cx),
            Input::Event(event) => match self.last_look.take(event) {
                Some(Ok(view)) => self.looked_at_the_end(view, l, cx),
                Some(Err(error)) => {
                    let silent = Blocker::supervisor_unavailable(error, cx.now);
                    self.set_blocked(Some(silent), l);
                    Outcome::Handled
                }
                None => Outcome::Super,
            },
            Input::Signal(_) => Outcome::Super,
        }
    }

    fn see(&self, view: Option<&SupervisorView>, l: &Shared) -> Seen {
        let before = Some(&self.update.predecessors);
        Seen {
            judgement: view.map(|view| l.judge(view, &self.update.release, before)),
            containers: containers(view),
        }
    }

    fn observe(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let seen = self.see(l.view(), l);
        self.judge(seen, l, cx)
    }

    /// Nothing holds a release back that is in place, but the Supervisor may not say how it is.
    fn set_blocked(&mut self, blocker: Option<Blocker>, l: &mut Shared) {
        let blocked = blocker.map(|blocker| blocker.continuing(self.update.blocked()));
        l.set_blocked(&mut self.update, blocked.into_iter().collect());
    }

    fn judge(&mut self, seen: Seen, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let Seen {
            judgement,
            containers,
        } = seen;
        self.set_blocked(hindrance::supervisor(l, judgement.as_ref(), cx.now), l);
        if let Some(Judgement::WrongImage(seen)) = judgement {
            let error = UpdateError::wrong_image(seen, cx.now);
            return Outcome::Transition(RollbackNeeded::not_applied(l, &self.update, error, cx));
        }
        if let Some(Judgement::Elsewhere(release)) = &judgement {
            let cause = if *self.seen {
                Cause::ForeignTarget
            } else {
                Cause::AgentStarted
            };
            return displaced(&self.update, cause, release.as_deref(), l, cx);
        }
        *self.seen |= judgement.is_some();
        let outlook = self
            .verification
            .see(judgement.as_ref(), l.watch(containers, FOREGROUND, cx.now));
        self.proceed(outlook, l, cx)
    }

    fn proceed(&mut self, outlook: Outlook, l: &mut Shared, cx: &Context) -> Outcome<State> {
        match outlook {
            Outlook::Open => Outcome::Super,
            Outlook::Bad => self.failed(l, "it did not stay healthy", cx),
        }
    }

    fn overdue(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        if is_not_the_releases_fault(self.update.blocked()) {
            // A Supervisor that does not say how it is proves nothing against the release.
            let longer = l.durable.policy().health().max(OUTAGE_EXTENSION);
            l.timers.arm(Timer::Deadline, cx.now.boot + longer);
            return Outcome::Handled;
        }
        if extend_deadline(&mut l.timers) {
            return Outcome::Handled;
        }
        self.failed(l, "it did not become healthy in time", cx)
    }

    fn time_is_over(&mut self, l: &mut Shared, cx: &mut Context) -> Outcome<State> {
        trial::follow_at_rest(l);
        if let Some(budget) = trial::budget(l, self.update.commit()) {
            return self.await_proof(budget, l, cx);
        }
        self.last_look
            .begin(Timer::Health, &mut l.in_flight, &mut l.timers, cx);
        Outcome::Handled
    }

    /// It counts as healthy only if this look says so too.
    fn looked_at_the_end(&mut self, view: &SupervisorView, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let seen = self.see(Some(view), l);
        let outcome = self.judge(seen, l, cx);
        if !matches!(outcome, Outcome::Super) {
            return outcome;
        }
        if self
            .verification
            .is_over(l.durable.policy().health(), cx.now.boot)
        {
            return self.succeeded(l, cx);
        }
        judge_again(
            Timer::Retry,
            &[Timer::Health, Timer::Retry],
            &mut l.timers,
            cx.now.boot,
        );
        Outcome::Handled
    }

    fn succeeded(&mut self, l: &mut Shared, cx: &Context) -> Outcome<State> {
        l.durable.prove(&self.update.release);
        let view = l.supervisor.as_ref().and_then(|seen| seen.as_ref().ok());
        let containers = view.map(|view| &view.containers[..]).unwrap_or_default();
        let running = containers.iter().filter(|container| container.is_running());
        l.durable
            .healing
            .run_again(running.map(|container| container.service.as_str()));
        let finished = self.update.finished(UpdateState::Succeeded, None, cx.now.wall);
        l.record_outcome(&finished, cx.now);
        Outcome::Transition(Idle::after(finished))
    }

    /// The release is healthy, and its agent has not proved itself yet. The guard has the first word about that; without
    /// one the agent goes back by itself.
    fn await_proof(&mut self, budget: Duration, l: &mut Shared, cx: &Context) -> Outcome<State> {
        let longest = budget + l.durable.policy().health() + OUTAGE_EXTENSION;
        if cx.now.boot >= self.update.since.boot + longest {
            return self.failed(l, "Cloudly accepted no heartbeat of the new agent", cx);
        }
        l.timers.arm(Timer::Health, cx.now.boot + PROOF);
        Outcome::Handled
    }

    fn failed(&mut self, l: &mut Shared, why: &str, cx: &Context) -> Outcome<State> {
        let evidence = std::mem::take(&mut self.verification.evidence);
        let error = UpdateError::new(ErrorCode::HealthCheckFailed, why, evidence, cx.now);
        Outcome::Transition(State::RollbackNeeded(RollbackNeeded::bad(
            l,
            &self.update,
            error,
            cx,
        )))
    }
}
