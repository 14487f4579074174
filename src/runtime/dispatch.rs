//! Passes each effect to its port. Mailboxes are never awaited: the machine has at most one outstanding operation
//! per port, so a full mailbox is a defect and is logged as one.

use crate::failpoint;
use crate::lifecycle::effect::{Effect, LocalAnswer, Port};
use crate::vault::Vault;
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::problem::Problem;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The ports' mailboxes.
pub struct Dispatch {
    pub cloudly: mpsc::Sender<Effect>,
    pub supervisor: mpsc::Sender<Effect>,
    pub lock_files: mpsc::Sender<Effect>,
    pub local_api: mpsc::Sender<Effect>,
    pub vault: Arc<dyn Vault>,
}

impl Dispatch {
    /// Passes an effect to its port.
    pub fn send(&self, effect: Effect) {
        let name = effect.name();
        failpoint::hit_with("effect.before", name);
        let mailbox = match effect.port() {
            Port::Cloudly => &self.cloudly,
            Port::Supervisor => &self.supervisor,
            Port::LockFiles => &self.lock_files,
            Port::LocalApi => &self.local_api,
            Port::Vault => {
                self.perform_in_vault(&effect);
                return failpoint::hit_with("effect.after", name);
            }
            // The event loop handles `Stop` itself.
            Port::Process => return,
        };
        if let Err(error) = mailbox.try_send(effect) {
            let full = matches!(error, mpsc::error::TrySendError::Full(_));
            tracing::error!(
                effect = name,
                full,
                "bug: an effect could not be passed to its port"
            );
        }
        failpoint::hit_with("effect.after", name);
    }

    /// Answers a request with an error, because the checkpoint that its answer needs could not be written.
    pub fn refuse(&self, effect: &Effect, problem: &str) {
        if let Effect::Reply { request, .. } = effect {
            let title = format!("the state cannot be saved: {problem}");
            let problem = Problem::new(503, ProblemCode::Unavailable, title).retry_after(Some(60));
            let answer = Box::new(LocalAnswer::Problem(problem));
            self.send(Effect::Reply {
                request: *request,
                answer,
            });
        }
    }

    fn perform_in_vault(&self, effect: &Effect) {
        if let Effect::ForgetJoinToken { token } = effect
            && let Err(error) = self.vault.forget_join_token(token)
        {
            // Harmless: the checkpoint says that the token is spent.
            tracing::warn!(%error, "the join token could not be removed from the state file");
        }
    }
}
