//! Signals: what the machine tells its own states within a step. They never reach the bus or the journal; replaying
//! the event that raised them raises them again.

use crate::lifecycle::event::Event;
use crate::lifecycle::facts::JoinOffer;
use crate::lifecycle::guard::record::GuardRestored;

/// What a state is asked to handle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A fact from outside.
    Event(&'a Event),
    /// A consequence of one that was handled before in the same step.
    Signal(&'a Signal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The state was entered, by a transition or by resuming from a checkpoint.
    Entered,
    /// What is desired is different now, or an operator wants it to be looked at again.
    DesiredChanged,
    /// A reason to wait (consent, a lock, a rollout slot, the clock) may have come or gone.
    GateChanged,
    /// A join token is there: from the configuration, the state file or the local API.
    JoinOffered(JoinOffer),
    /// The guard has put the proven release back while this agent was away.
    GuardRestored(GuardRestored),
    /// Everything has been handled: what every step ends with is done in the state it ended in.
    StepEnded,
}

impl Signal {
    /// A short name for logs, tables and the diagram.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::DesiredChanged => "desiredChanged",
            Self::GateChanged => "gateChanged",
            Self::JoinOffered(_) => "joinOffered",
            Self::GuardRestored(_) => "guardRestored",
            Self::StepEnded => "stepEnded",
        }
    }
}
