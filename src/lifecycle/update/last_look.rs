//! The look that a release's time of health ends with. What was seen last may be as old as the pause between looks, and
//! nobody would say that a service has ended since.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{OpId, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{SupervisorError, SupervisorView};
use crate::lifecycle::in_flight::InFlight;
use crate::lifecycle::time::Millis;
use crate::lifecycle::timer::{Timer, Timers};
use crate::lifecycle::unsaved::Unsaved;
use std::time::Duration;

/// How long after a last look that did not show a healthy release it is judged again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The last look did not show a healthy release. The poller may have missed that, and then tells nothing new; so `timer`
/// comes again, unless one of these is due anyway.
pub(crate) fn judge_again(timer: Timer, unless: &[Timer], timers: &mut Timers, now: Millis) {
    if unless.iter().all(|other| timers.get(*other).is_none()) {
        timers.arm(timer, now + LOOK_AGAIN);
    }
}

/// Under way, or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastLook(Unsaved<Option<OpId>>);

impl LastLook {
    /// Looks, unless it does already. `timer` comes again after a while, for an answer that shows nothing.
    pub(crate) fn begin(
        &mut self,
        timer: Timer,
        in_flight: &mut InFlight,
        timers: &mut Timers,
        cx: &mut Context,
    ) {
        if self.0.is_none() {
            *self.0 = Some(in_flight.ask_supervisor(SupervisorCall::Inspect, cx));
        }
        timers.arm(timer, cx.now.boot + LOOK_AGAIN);
    }

    /// What it shows; `None`: the event is about something else.
    pub(crate) fn take<'e>(
        &mut self,
        event: &'e Event,
    ) -> Option<Result<&'e SupervisorView, &'e SupervisorError>> {
        let Event::SupervisorAnswered { op, answer } = event else {
            return None;
        };
        self.0.take_if(|look| look == op)?;
        match &**answer {
            Ok(SupervisorAnswer::Inspected(inspection)) => Some(Ok(&inspection.view)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Forgets a look that has not left yet.
    pub(crate) fn abandon(&mut self, in_flight: &mut InFlight) {
        if let Some(look) = self.0.take() {
            in_flight.forget(look);
        }
    }
}
