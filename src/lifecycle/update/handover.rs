//! Handing a release over to the Supervisor: look, hand it over if it is not its target already, then watch.
//!
//! It always looks first: after a crash only the Supervisor knows whether the target was handed over, and nothing is
//! handed over twice.

use crate::lifecycle::backoff;
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{AppState, Inspection, SupervisorError, SupervisorErrorKind};
use crate::lifecycle::guard::trial;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::supervisor_target::builder;
use crate::lifecycle::timer::Timer;
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::predecessors::Predecessors;
use crate::lifecycle::update::restarts::{Pause, Restarts};
use crate::lifecycle::update::target::Release;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Handover {
    #[serde(skip)]
    phase: Unsaved<Phase>,
    #[serde(skip)]
    failures: Unsaved<u32>,
    nudged: bool,
    /// The Supervisor had the release as its target at some time: another target there is somebody else's doing.
    accepted: bool,
    /// It was handed over with the order to override locks.
    forced: bool,
    /// What ran before the release was handed over; `None`: it was the Supervisor's target already.
    predecessors: Option<Predecessors>,
    /// Since the Supervisor last answered it.
    restarts: Restarts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Between two tries.
    #[default]
    Pausing,
    Looking(OpId),
    HandingOver(OpId),
    Watching,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The event was about something else.
    NotMine,
    /// On its way, nothing to decide.
    Going,
    /// The Supervisor has the release as its target.
    HandedOver,
    /// A lock that is not ours is in the way.
    Locked(String),
    /// The release must not reach the Supervisor, or the Supervisor will not take it.
    Refused { message: String, evidence: Vec<String> },
    /// The Supervisor had the release as its target, and has another one now: its commit.
    Displaced(Option<String>),
    /// The Supervisor is not in order; another try is due.
    Unavailable(SupervisorError),
}

impl Handover {
    /// One that this process begins.
    pub(crate) fn new() -> Self {
        Self {
            restarts: Restarts::none(),
            ..Self::default()
        }
    }

    /// Begins, or goes on with what an earlier process began. A wait comes first when too many of them ended in it.
    pub(crate) fn enter(&mut self, l: &mut Shared, cx: &mut Context) -> Option<Pause> {
        let pause = self.restarts.enter("it handed the release over", cx.now);
        match &pause {
            Some(pause) => l.timers.arm(Timer::Retry, pause.until),
            None => self.begin(l, cx),
        }
        pause
    }

    /// Looks at the Supervisor, from wherever it was.
    pub(crate) fn begin(&mut self, l: &mut Shared, cx: &mut Context) {
        self.abandon(l);
        *self.phase = Phase::Looking(l.in_flight.ask_supervisor(SupervisorCall::Inspect, cx));
    }

    /// Looks at the Supervisor, and hands the release over again if another one has taken its place.
    pub(crate) fn begin_anew(&mut self, l: &mut Shared, cx: &mut Context) {
        self.accepted = false;
        self.begin(l, cx);
    }

    /// As [`Self::enter`], of a release that takes the place of whatever is there.
    pub(crate) fn enter_anew(&mut self, l: &mut Shared, cx: &mut Context) -> Option<Pause> {
        self.accepted = false;
        self.enter(l, cx)
    }

    /// Forgets a call that has not left yet.
    pub(crate) fn abandon(&mut self, l: &mut Shared) {
        if let Phase::Looking(op) | Phase::HandingOver(op) = *self.phase {
            l.in_flight.forget(op);
        }
        *self.phase = Phase::Pausing;
        l.timers.disarm(Timer::Retry);
    }

    /// Whether the Supervisor has the release as its target.
    pub(crate) fn is_handed_over(&self) -> bool {
        *self.phase == Phase::Watching
    }

    /// Whether the Supervisor had the release as its target at some time, in this run of the agent or an earlier one.
    pub(crate) fn was_accepted(&self) -> bool {
        self.accepted
    }

    /// What ran before this hand-over, once.
    pub(crate) fn take_predecessors(&mut self) -> Option<Predecessors> {
        self.predecessors.take()
    }

    /// Another attempt: looks whether the release is still the Supervisor's target.
    pub(crate) fn begin_attempt(&mut self, l: &mut Shared, cx: &mut Context) {
        self.nudged = false;
        self.begin(l, cx);
    }

    /// The policy may differ: a call that has not left yet must not override locks without an order, or miss one.
    pub(crate) fn policy_changed(&mut self, l: &mut Shared, cx: &mut Context) {
        if let Phase::HandingOver(op) = *self.phase
            && l.in_flight.is_waiting(op)
            && self.forced != l.durable.policy().is_forced()
        {
            self.begin(l, cx);
        }
    }

    /// Ends the Supervisor's back-off, once: the audited last resort (architecture §4). It restarts every service, so it
    /// is for an order that came after the hand-over, and for a Supervisor that is stuck.
    pub(crate) fn nudge(&mut self, l: &mut Shared, cx: &mut Context) {
        let stuck = l
            .view()
            .is_some_and(|view| view.app_state == AppState::Applying && view.update_failed);
        if self.nudged || self.forced || !stuck || !l.durable.policy().is_forced() {
            return;
        }
        if let (Phase::Watching, Some(app_id)) = (*self.phase, l.durable.target.app_id()) {
            self.nudged = true;
            l.in_flight
                .ask_supervisor(SupervisorCall::RestartApp { app_id }, cx);
        }
    }

    /// Takes in an event.
    pub(crate) fn handle(
        &mut self,
        release: &Release,
        l: &mut Shared,
        event: &Event,
        cx: &mut Context,
    ) -> Progress {
        match (event, *self.phase) {
            (Event::Elapsed(Timer::Retry), Phase::Pausing) => {
                self.begin(l, cx);
                Progress::Going
            }
            (Event::SupervisorAnswered { op, answer }, Phase::Looking(mine)) if *op == mine => {
                match &**answer {
                    Ok(SupervisorAnswer::Inspected(inspection)) => self.looked(inspection, release, l, cx),
                    Ok(_) => Progress::Going,
                    Err(error) => self.pause(error, l, cx),
                }
            }
            (Event::SupervisorAnswered { op, answer }, Phase::HandingOver(mine)) if *op == mine => {
                match &**answer {
                    Ok(_) => {
                        *self.failures = 0;
                        self.handed_over()
                    }
                    Err(error) => match error.kind {
                        SupervisorErrorKind::Locked => {
                            trial::not_handed_over(l, release);
                            *self.phase = Phase::Pausing;
                            Progress::Locked(error.message.clone())
                        }
                        SupervisorErrorKind::Refused => {
                            trial::not_handed_over(l, release);
                            Progress::Refused {
                                message: error.message.clone(),
                                evidence: Vec::new(),
                            }
                        }
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
                Phase::HandingOver(mine),
            ) if *op == mine => self.pause(&SupervisorError::withheld(problem), l, cx),
            _ => Progress::NotMine,
        }
    }

    fn looked(
        &mut self,
        inspection: &Inspection,
        release: &Release,
        l: &mut Shared,
        cx: &mut Context,
    ) -> Progress {
        l.durable.target.adopt(inspection, &l.run);
        let force = l.durable.policy().is_forced();
        if l.durable.target.is_target(inspection, &release.commit) {
            return self.handed_over();
        }
        if self.accepted && !inspection.view.managed {
            let other = l.durable.target.targeted(inspection);
            return Progress::Displaced(other.map(str::to_owned));
        }
        self.forced = force;
        self.predecessors = Some(Predecessors::of(inspection, &l.durable.target));
        let call = if inspection.view.managed {
            SupervisorCall::TriggerUpdate { force }
        } else {
            let own_service = l.run.own_service.clone();
            let history = l.durable.history(release);
            match builder::plan(&mut l.durable.target, release, history, &own_service) {
                Ok(target) => {
                    let services = release.services.values();
                    let images: Vec<_> = services.map(|service| service.image.as_str()).collect();
                    l.progress.begin_target(&images, cx.now);
                    let target = Box::new(trial::hand_over(
                        l,
                        release,
                        target,
                        &inspection.view,
                        cx.now.boot,
                    ));
                    SupervisorCall::ApplyTarget { target, force }
                }
                Err(refusal) => {
                    return Progress::Refused {
                        message: refusal.to_string(),
                        evidence: refusal.evidence(),
                    };
                }
            }
        };
        *self.phase = Phase::HandingOver(l.in_flight.ask_supervisor(call, cx));
        Progress::Going
    }

    fn handed_over(&mut self) -> Progress {
        *self.phase = Phase::Watching;
        self.accepted = true;
        self.restarts.survived();
        Progress::HandedOver
    }

    fn pause(&mut self, error: &SupervisorError, l: &mut Shared, cx: &Context) -> Progress {
        *self.phase = Phase::Pausing;
        self.restarts.survived();
        l.timers.arm(
            Timer::Retry,
            cx.now.boot + backoff::SUPERVISOR.delay(*self.failures, cx.entropy(1)),
        );
        *self.failures = self.failures.saturating_add(1);
        Progress::Unavailable(error.clone())
    }
}
