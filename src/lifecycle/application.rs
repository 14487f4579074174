//! Putting a release in place: look, hand it over if it is not there already, then watch.
//!
//! It always looks first. After a crash nobody knows whether the target was handed over; the Supervisor does, so
//! nothing is handed over twice.

use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{Inspection, SupervisorError, SupervisorErrorKind};
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use baseos_interfaces::desired::Release;
use serde::{Deserialize, Serialize};

/// Where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    step: Unsaved<Step>,
    failures: Unsaved<u32>,
    nudged: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Between two tries.
    #[default]
    Pausing,
    Looking(OpId),
    HandingOver(OpId),
    Watching,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The event was about something else.
    NotMine,
    /// On its way, nothing to decide.
    Going,
    /// The Supervisor has the release as its target.
    HandedOver,
    /// A lock that is not ours is in the way.
    Locked(String),
    /// The Supervisor will not take this release.
    Refused(String),
    /// The Supervisor is not in order; another try is due.
    Unavailable(SupervisorError),
}

impl Application {
    /// Looks at the Supervisor, from wherever it was.
    pub(super) fn begin(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        self.abandon(l);
        *self.step = Step::Looking(l.ports.ask_supervisor(SupervisorCall::Inspect, cx));
    }

    /// Forgets a call that has not left yet.
    pub(super) fn abandon(&mut self, l: &mut Lifecycle) {
        if let Step::Looking(op) | Step::HandingOver(op) = *self.step {
            l.ports.forget(op);
        }
        *self.step = Step::Pausing;
        l.timers.disarm(Timer::Retry);
    }

    /// Whether the Supervisor has the release as its target.
    pub fn is_handed_over(&self) -> bool {
        *self.step == Step::Watching
    }

    /// Ends the Supervisor's back-off, once: the audited last resort (architecture §4).
    pub(super) fn nudge(&mut self, l: &mut Lifecycle, cx: &mut Context) {
        if let (Step::Watching, false, Some(app_id)) = (*self.step, self.nudged, l.book.target.app_id()) {
            self.nudged = true;
            l.ports.ask_supervisor(SupervisorCall::RestartApp { app_id }, cx);
        }
    }

    /// Takes in an event.
    pub(super) fn handle(
        &mut self,
        release: &Release,
        force: bool,
        l: &mut Lifecycle,
        event: &Event,
        cx: &mut Context,
    ) -> Progress {
        match (event, *self.step) {
            (Event::Elapsed(Timer::Retry), Step::Pausing) => {
                self.begin(l, cx);
                Progress::Going
            }
            (Event::SupervisorAnswered { op, answer }, Step::Looking(mine)) if *op == mine => match &**answer
            {
                Ok(SupervisorAnswer::Inspected(inspection)) => self.looked(inspection, release, force, l, cx),
                Ok(_) => Progress::Going,
                Err(error) => self.pause(error, l, cx),
            },
            (Event::SupervisorAnswered { op, answer }, Step::HandingOver(mine)) if *op == mine => {
                match &**answer {
                    Ok(_) => {
                        *self.step = Step::Watching;
                        *self.failures = 0;
                        Progress::HandedOver
                    }
                    Err(error) => match error.kind {
                        SupervisorErrorKind::Locked => {
                            *self.step = Step::Pausing;
                            Progress::Locked(error.message.clone())
                        }
                        SupervisorErrorKind::Refused => Progress::Refused(error.message.clone()),
                        _ => self.pause(error, l, cx),
                    },
                }
            }
            (
                Event::Withheld {
                    op: Some(op),
                    problem,
                    ..
                },
                Step::HandingOver(mine),
            ) if *op == mine => {
                let error = SupervisorError {
                    kind: SupervisorErrorKind::Unavailable,
                    message: format!("not begun, because the state cannot be saved: {problem}"),
                };
                self.pause(&error, l, cx)
            }
            _ => Progress::NotMine,
        }
    }

    fn looked(
        &mut self,
        inspection: &Inspection,
        release: &Release,
        force: bool,
        l: &mut Lifecycle,
        cx: &mut Context,
    ) -> Progress {
        let own_app = l.run.app_id;
        l.book.target.adopt(inspection, own_app);
        let targeted = l
            .book
            .target
            .app_id()
            .and_then(|id| inspection.apps.get(&id))
            .is_some_and(|app| app.commit.as_deref() == Some(release.commit.as_str()));
        if targeted {
            *self.step = Step::Watching;
            return Progress::HandedOver;
        }
        let call = if inspection.view.managed {
            SupervisorCall::TriggerUpdate { force }
        } else {
            let own_service = l.run.own_service.clone();
            match l.book.target.plan(release, &own_service) {
                Ok(target) => SupervisorCall::ApplyTarget {
                    target: Box::new(target),
                    force,
                },
                Err(refusal) => return Progress::Refused(refusal.to_string()),
            }
        };
        *self.step = Step::HandingOver(l.ports.ask_supervisor(call, cx));
        Progress::Going
    }

    fn pause(&mut self, error: &SupervisorError, l: &mut Lifecycle, cx: &Context) -> Progress {
        *self.step = Step::Pausing;
        l.timers.arm(
            Timer::Retry,
            cx.now.boot + backoff::SUPERVISOR.delay(*self.failures, cx.entropy(1)),
        );
        *self.failures = self.failures.saturating_add(1);
        Progress::Unavailable(error.clone())
    }
}
