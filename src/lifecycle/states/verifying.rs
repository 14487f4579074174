//! Verifying: the release is in place and must stay healthy for `healthSeconds`.

use super::State;
use super::applying::failure;
use super::idle::Idle;
use super::rollback_needed::RollbackNeeded;
use crate::lifecycle::context::Context;
use crate::lifecycle::event::Event;
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::update::Update;
use crate::lifecycle::verdict::{Verdict, judge};
use crate::lifecycle::vigil::{Outlook, Vigil};
use baseos_interfaces::states::UpdateState;
use serde::{Deserialize, Serialize};
use statig::Outcome;
use std::time::Duration;

/// An update that runs and is being watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verifying {
    /// The update.
    pub update: Box<Update>,
    /// What has been seen.
    pub vigil: Vigil,
}

impl Verifying {
    pub(super) fn new(update: &Update, cx: &Context) -> Self {
        Self {
            update: update.next_phase(cx.now.into()),
            vigil: Vigil::default(),
        }
    }

    pub(super) fn enter(&mut self, l: &mut Lifecycle) {
        let allowed = Duration::from_secs(l.book.policy().apply_timeout_seconds.max(1).into());
        l.timers
            .arm(Timer::Deadline, self.update.since.boot + allowed + health(l));
        self.vigil.restart();
    }

    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
        match event {
            Event::Observed(_) | Event::Entered => self.observe(l, cx),
            Event::ServiceExited { service } if self.update.release.services.contains_key(service) => {
                let outlook = self.vigil.exited(service, health(l), l, cx);
                self.proceed(outlook, l, cx)
            }
            Event::Elapsed(Timer::Retry) => {
                l.timers.disarm(Timer::Retry);
                self.observe(l, cx)
            }
            Event::Elapsed(Timer::Health) => self.succeeded(l, cx),
            Event::Elapsed(Timer::Deadline) => {
                if l.view().is_none() {
                    // A silent Supervisor proves nothing against the release.
                    l.timers.arm(
                        Timer::Deadline,
                        cx.now.boot + health(l).max(Duration::from_secs(60)),
                    );
                    return Outcome::Handled;
                }
                if overtime(l) {
                    return Outcome::Handled;
                }
                self.failed(l, "it did not become healthy in time", cx)
            }
            _ => Outcome::Super,
        }
    }

    fn observe(&mut self, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        let verdict = l.view().map(|view| {
            judge(
                view,
                &self.update.release,
                l.book.target.images(&self.update.release.commit),
            )
        });
        if let Some(Verdict::Elsewhere(release)) = &verdict {
            let other = release.as_deref().unwrap_or("none").to_owned();
            self.vigil
                .evidence
                .push(format!("release {other} is applied instead"));
            return self.failed(l, "another release was put in its place", cx);
        }
        let outlook = self.vigil.see(verdict.as_ref(), health(l), l, cx);
        self.proceed(outlook, l, cx)
    }

    fn proceed(&mut self, outlook: Outlook, l: &mut Lifecycle, cx: &mut Context) -> Outcome<State> {
        match outlook {
            Outlook::Open => Outcome::Super,
            Outlook::Bad => self.failed(l, "it did not stay healthy", cx),
        }
    }

    fn succeeded(&mut self, l: &mut Lifecycle, cx: &Context) -> Outcome<State> {
        l.book.prove(&self.update.release);
        let finished = self.update.finished(UpdateState::Succeeded, None, cx.now.wall);
        l.note_outcome(Some(&finished), cx);
        Outcome::Transition(Idle::ended(finished))
    }

    fn failed(&mut self, l: &mut Lifecycle, why: &str, cx: &mut Context) -> Outcome<State> {
        let evidence = std::mem::take(&mut self.vigil.evidence);
        let error = failure("healthCheckFailed", why.to_owned(), evidence, cx.now);
        Outcome::Transition(State::RollbackNeeded(RollbackNeeded::bad(
            l,
            &self.update,
            error,
            cx,
        )))
    }
}

pub(super) fn disarm(l: &mut Lifecycle) {
    l.timers.disarm(Timer::Retry);
    l.timers.disarm(Timer::Deadline);
    l.timers.disarm(Timer::Health);
}

/// It is healthy at last: it gets the rest of its time, which a silent Supervisor or the agent's own absence may have
/// cut short. What breaks until then still counts.
pub(super) fn overtime(l: &mut Lifecycle) -> bool {
    let Some(end) = l.timers.get(Timer::Health) else {
        return false;
    };
    l.timers.arm(Timer::Deadline, end + Duration::from_millis(1));
    true
}

pub(super) fn health(l: &Lifecycle) -> Duration {
    Duration::from_secs(l.book.policy().health_seconds.into())
}
