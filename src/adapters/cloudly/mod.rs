//! Cloudly, over HTTPS (contract §1, §3, §4).
//!
//! [`CloudlyPort`] performs `Effect::Register` and `Effect::Heartbeat`, one at a time, and reports each result as
//! one event. It adds the secrets on the way out and keeps them back on the way in: no event, error or log line
//! has one. It never retries, follows no redirect, reads no proxy from the environment and reads no answer past
//! `ANSWER_MAX_BYTES`.
//!
//! Traffic is part of the design: one connection is kept open between heartbeats (no TCP keep-alive probes; they
//! would cost more than the heartbeats), and a request carries only the headers HTTP needs.

mod answer;
mod call_failure;
mod http;
mod settings;
mod size_limit;
mod tls;

pub use settings::ConfigError;

use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::{Event, Registration};
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::vault::{Endpoint, Vault};
use baseos_interfaces::codes::Capability;
use baseos_interfaces::heartbeat::{Heartbeat, HeartbeatAnswer};
use baseos_interfaces::limits::{HEARTBEAT_PATH, PROTOCOL_VERSION, REGISTER_PATH};
use baseos_interfaces::register::{NodeFacts, RegisterAnswer, RegisterRequest};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenId, TokenKind, WireSecret};
use settings::Deadlines;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{error, warn};

/// What this agent can do, as it says at registration.
const CAPABILITIES: [Capability; 3] = [
    Capability::Commands,
    Capability::LocalLocks,
    Capability::DirectTarget,
];

/// The port to Cloudly.
pub struct CloudlyPort {
    /// `None`: nobody has said where Cloudly is.
    client: Option<http::Client>,
    vault: Arc<dyn Vault>,
}

impl CloudlyPort {
    /// Sets up the client; connects to nothing yet. Without an endpoint every call fails and says so.
    ///
    /// # Errors
    /// Says which setting is wrong and what would be right.
    pub fn new(endpoint: Option<&Endpoint>, vault: Arc<dyn Vault>) -> Result<Self, ConfigError> {
        Self::with_deadlines(endpoint, vault, Deadlines::default())
    }

    pub(crate) fn with_deadlines(
        endpoint: Option<&Endpoint>,
        vault: Arc<dyn Vault>,
        deadlines: Deadlines,
    ) -> Result<Self, ConfigError> {
        let client = endpoint.map(|endpoint| http::Client::new(endpoint, deadlines));
        Ok(Self {
            client: client.transpose()?,
            vault,
        })
    }

    fn client(&self) -> Result<&http::Client, CallFailure> {
        self.client.as_ref().ok_or_else(|| {
            let message = "BASEOS_CLOUDLY_URL is not set, and the state file knows no Cloudly either";
            call_failure::failure(CallFailureKind::Unreachable, message.to_owned())
        })
    }

    /// Whether Cloudly is there: an empty heartbeat without a token, which it must refuse. Says nothing about this
    /// node's token and changes nothing.
    ///
    /// # Errors
    /// Why no Cloudly was reached.
    pub async fn reach(&self) -> Result<(), CallFailure> {
        let client = self.client()?;
        match client
            .post::<serde_json::Value>(HEARTBEAT_PATH, None, b"{}".to_vec())
            .await
        {
            Err(failure)
                if !matches!(
                    failure.kind,
                    CallFailureKind::Unauthorized | CallFailureKind::Rejected | CallFailureKind::Unavailable
                ) =>
            {
                Err(failure)
            }
            // An answer without a problem's code comes from something else than Cloudly.
            Err(failure) if failure.code.is_none() => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Performs effects until the mailbox closes or nobody takes results any more.
    pub async fn serve(self, mut mailbox: mpsc::Receiver<Effect>, events: mpsc::Sender<Event>) {
        while let Some(effect) = mailbox.recv().await {
            let event = match effect {
                Effect::Register {
                    op,
                    token,
                    registration_id,
                    node,
                    labels,
                } => self.register(op, &token, registration_id, *node, labels).await,
                Effect::Heartbeat { op, heartbeat } => self.heartbeat(op, *heartbeat).await,
                other => {
                    error!(effect = other.name(), port = ?other.port(), "this effect is not for the Cloudly port: a bug in the dispatcher");
                    continue;
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn register(
        &self,
        op: OpId,
        token: &TokenId,
        registration_id: RegistrationId,
        node: NodeFacts,
        labels: BTreeMap<String, String>,
    ) -> Event {
        match self.try_register(token, registration_id, node, labels).await {
            Ok(node) => Event::Registered {
                op,
                node: Box::new(node),
            },
            Err(failure) => Event::RegisterFailed { op, failure },
        }
    }

    async fn try_register(
        &self,
        token: &TokenId,
        registration_id: RegistrationId,
        node: NodeFacts,
        labels: BTreeMap<String, String>,
    ) -> Result<Registration, CallFailure> {
        let client = self.client()?;
        let Some(join_token) = self.vault.join_token(token) else {
            return Err(no_credentials(format!(
                "the join token {token} is not in the store any more: offer a new one"
            )));
        };
        let request = RegisterRequest {
            protocol_version: PROTOCOL_VERSION,
            join_token: WireSecret::from(&join_token),
            registration_id,
            node,
            labels,
            capabilities: CAPABILITIES.to_vec(),
        };
        let body = http::to_json(&request)?;
        let answer: RegisterAnswer = client.post(REGISTER_PATH, None, body).await?;
        let node_token = Token::parse(TokenKind::Node, answer.node_token.expose()).map_err(|why| {
            call_failure::garbage(format!("Cloudly's answer brought no usable node token: {why}"))
        })?;
        // On disk before the machine hears of it: a node that believes to be enrolled must be able to prove it.
        self.vault
            .store_node_token(&node_token)
            .map_err(|why| call_failure::failure(CallFailureKind::Unavailable, why.to_string()))?;
        Ok(Registration {
            node_id: answer.node_id,
            approval: answer.approval,
            approval_reason: answer.approval_reason,
            fleet: answer.fleet,
            next_heartbeat_seconds: answer.next_heartbeat_seconds,
            limits: answer.limits,
            server_time: answer.server_time,
        })
    }

    async fn heartbeat(&self, op: OpId, heartbeat: Heartbeat) -> Event {
        match self.try_heartbeat(heartbeat).await {
            Ok(answer) => {
                let credentials_stored = self.store_credentials(&answer);
                Event::HeartbeatAnswered {
                    op,
                    instructions: Box::new(answer.instructions),
                    credentials_stored,
                }
            }
            Err(failure) => Event::HeartbeatFailed { op, failure },
        }
    }

    async fn try_heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, CallFailure> {
        let client = self.client()?;
        let Some(token) = self.vault.node_token() else {
            return Err(no_credentials("there is no node token in the store".to_owned()));
        };
        let body = size_limit::encode(heartbeat)?;
        let answer = client.post(HEARTBEAT_PATH, Some(&token), body).await;
        match &answer {
            Ok(_) => {
                if let Err(why) = self.vault.token_accepted(token.id()) {
                    warn!(token = %token.id(), %why, "older node tokens could not be forgotten; the next heartbeat tries again");
                }
            }
            Err(failure) if failure.kind == CallFailureKind::Unauthorized => {
                self.vault.token_refused(token.id());
            }
            Err(_) => {}
        }
        answer
    }

    /// Whether the answer brought a new token and it is on disk now.
    fn store_credentials(&self, answer: &HeartbeatAnswer) -> bool {
        let Some(credentials) = &answer.credentials else {
            return false;
        };
        let stored = Token::parse(TokenKind::Node, credentials.node_token.expose())
            .map_err(|why| why.to_string())
            .and_then(|token| self.vault.store_next_token(&token).map_err(|why| why.to_string()));
        if let Err(why) = &stored {
            warn!(
                why,
                "Cloudly sent a new node token, which is not used; the present one stays"
            );
        }
        stored.is_ok()
    }
}

fn no_credentials(message: String) -> CallFailure {
    call_failure::failure(CallFailureKind::NoCredentials, message)
}

#[cfg(test)]
mod tests;
