//! Says in the log when a neighbour goes or comes back: once, not with every call.

use crate::lifecycle::Machine;
use crate::lifecycle::facts::{CallFailureKind, SupervisorErrorKind};
use crate::lifecycle::states::State;

/// What was said last.
#[derive(Debug, Default)]
pub struct Told {
    cloudly: Option<CallFailureKind>,
    supervisor: Option<SupervisorErrorKind>,
    registering: Option<String>,
}

impl Told {
    /// Says what is different.
    pub fn tell(&mut self, machine: &Machine) {
        let l = machine.lifecycle();
        let failure = l.beats.last_failure();
        let kind = failure.map(|failure| failure.kind);
        if kind != self.cloudly {
            match failure {
                Some(failure) => {
                    tracing::warn!(problem = %failure.message, "Cloudly does not accept heartbeats");
                }
                None if l.beats.last_contact().is_some() => {
                    tracing::info!("Cloudly accepts heartbeats again");
                }
                None => {}
            }
            self.cloudly = kind;
        }
        let error = l.supervisor.as_ref().and_then(|seen| seen.as_ref().err());
        let kind = error.map(|error| error.kind);
        if kind != self.supervisor {
            match error {
                Some(error) => tracing::warn!(problem = %error.message, "the Supervisor is not available"),
                None => tracing::info!("the Supervisor is available again"),
            }
            self.supervisor = kind;
        }
        let problem = match machine.state() {
            State::Registering(registering) => registering.problem(),
            _ => None,
        };
        if problem != self.registering.as_deref() {
            if let Some(problem) = problem {
                tracing::warn!(%problem, "not enrolled yet; trying again");
            }
            self.registering = problem.map(str::to_owned);
        }
    }
}
