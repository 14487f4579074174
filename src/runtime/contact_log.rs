//! Logs when Cloudly or the Supervisor becomes unavailable or available again: once, not with every call.

use crate::lifecycle::Machine;
use crate::lifecycle::facts::{CallFailureKind, SupervisorErrorKind};
use baseos_interfaces::token::TokenId;

/// What was logged last; `None`: available.
#[derive(Debug, Default)]
pub struct ContactLog {
    cloudly: Option<CallFailureKind>,
    supervisor: Option<SupervisorErrorKind>,
    registering: Option<String>,
    refused_join_token: Option<TokenId>,
}

impl ContactLog {
    /// `machine` as it was resumed: that an enrolled node was once refused another identity is no news.
    pub fn new(machine: &Machine) -> Self {
        let contact = machine.contact();
        let refused = contact.refused_join_token.filter(|_| contact.enrolled);
        Self {
            refused_join_token: refused.map(|(token, _)| token.clone()),
            ..Self::default()
        }
    }

    /// Logs what has changed since the last call.
    pub fn update(&mut self, machine: &Machine) {
        let contact = machine.contact();
        let kind = contact.cloudly_failure.map(|failure| failure.kind);
        if kind != self.cloudly {
            match contact.cloudly_failure {
                Some(failure) => {
                    tracing::warn!(problem = %failure.message, "Cloudly does not accept heartbeats");
                }
                None if contact.cloudly_heard => {
                    tracing::info!("Cloudly accepts heartbeats again");
                }
                None => {}
            }
            self.cloudly = kind;
        }
        let kind = contact.supervisor_error.map(|error| error.kind);
        if kind != self.supervisor {
            match contact.supervisor_error {
                Some(error) => tracing::warn!(problem = %error.message, "the Supervisor is not available"),
                None => tracing::info!("the Supervisor is available again"),
            }
            self.supervisor = kind;
        }
        if contact.registering != self.registering.as_deref() {
            if let Some(problem) = contact.registering {
                tracing::warn!(%problem, "not enrolled yet; trying again");
            }
            self.registering = contact.registering.map(str::to_owned);
        }
        let refused = contact.refused_join_token.map(|(token, _)| token);
        if refused != self.refused_join_token.as_ref() {
            if let Some((token, problem)) = contact.refused_join_token {
                tracing::warn!(%token, %problem, "Cloudly refused the join token; a new one is needed");
            }
            self.refused_join_token = refused.cloned();
        }
    }
}

#[cfg(test)]
mod tests;
