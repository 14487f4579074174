//! Cloudly, over HTTPS (contract §1, §3, §4).
//!
//! [`CloudlyPort`] performs [`Effect::Register`] and [`Effect::Heartbeat`], one at a time, and reports each result as
//! one event. It adds secrets to requests and takes them out of answers, so that no event, error or log line contains
//! one. It never retries, follows no redirect, uses no proxy but [`ProxyChoice`]'s and reads at most `ANSWER_MAX_BYTES`
//! of an answer.
//!
//! To save traffic, heartbeats share one connection without TCP keep-alive probes (which would cost more than the
//! heartbeats), and a request has only the headers that HTTP needs.

mod answer;
mod call_failure;
mod certificates;
mod http;
mod settings;
mod tls;

pub use settings::ConfigError;

use crate::failpoint;
use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::{Event, Registration};
use crate::lifecycle::facts::{CallFailure, CallFailureKind};
use crate::proxy::ProxyChoice;
use crate::vault::{Endpoint, Vault};
use answer::Answer;
use baseos_interfaces::codes::Capability;
use baseos_interfaces::heartbeat::{Credentials, Heartbeat, HeartbeatAnswer};
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::register::{NodeFacts, RegisterAnswer, RegisterRequest};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenId, TokenKind, WireSecret};
use serde::Deserialize;
use settings::Timeouts;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{error, warn};

/// The capabilities that a registration reports.
const CAPABILITIES: [Capability; 3] = [
    Capability::Commands,
    Capability::LocalLocks,
    Capability::DirectTarget,
];

pub struct CloudlyPort {
    /// `None`: no endpoint is configured or stored.
    client: Option<http::Client>,
    vault: Arc<dyn Vault>,
}

impl CloudlyPort {
    /// Does not connect yet. Without an endpoint every call fails with the name of the missing setting.
    ///
    /// # Errors
    /// When the endpoint is invalid.
    pub fn new(
        endpoint: Option<&Endpoint>,
        proxy: ProxyChoice,
        vault: Arc<dyn Vault>,
    ) -> Result<Self, ConfigError> {
        Self::with_timeouts(endpoint, proxy, vault, Timeouts::default())
    }

    pub(crate) fn with_timeouts(
        endpoint: Option<&Endpoint>,
        proxy: ProxyChoice,
        vault: Arc<dyn Vault>,
        timeouts: Timeouts,
    ) -> Result<Self, ConfigError> {
        let client = endpoint.map(|endpoint| http::Client::new(endpoint, proxy, timeouts));
        Ok(Self {
            client: client.transpose()?,
            vault,
        })
    }

    fn client(&self) -> Result<&http::Client, CallFailure> {
        self.client.as_ref().ok_or_else(|| {
            let message = "BASEOS_CLOUDLY_URL is not set, and the state file has no URL of Cloudly either";
            call_failure::failure(CallFailureKind::Unreachable, message.to_owned())
        })
    }

    /// Checks whether Cloudly answers, by an empty heartbeat without a token, which it must refuse. The node's own
    /// token is not checked, and nothing changes.
    ///
    /// # Errors
    /// When Cloudly is not reached.
    pub async fn reach(&self) -> Result<(), CallFailure> {
        let client = self.client()?;
        let answer = client.post(http::Call::Heartbeat, None, b"{}".to_vec()).await;
        match answer.and_then(|answer| http::from_json::<serde_json::Value>(&answer)) {
            Err(failure)
                if !matches!(
                    failure.kind,
                    CallFailureKind::Unauthorized | CallFailureKind::Rejected | CallFailureKind::Unavailable
                ) =>
            {
                Err(failure)
            }
            // An answer without a problem code is not from Cloudly.
            Err(failure) if failure.code.is_none() => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Performs effects until the mailbox or `events` is closed.
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
                Effect::Heartbeat { op, heartbeat } => self.heartbeat(op, &heartbeat).await,
                Effect::SetCertificateTimes { since } => {
                    if let Some(client) = &self.client {
                        client.accept_certificates_since(since);
                    }
                    continue;
                }
                other => {
                    error!(effect = other.name(), port = ?other.port(), "bug: the Cloudly port received an effect of another port");
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
                "the join token {token} is no longer in the store: offer a new one"
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
        let answer = client.post(http::Call::Register, None, body).await?;
        let answer: RegisterAnswer = http::from_json(&answer)?;
        let node_token = Token::parse(TokenKind::Node, answer.node_token.expose()).map_err(|error| {
            call_failure::garbage(format!("Cloudly's answer has no valid node token: {error}"))
        })?;
        // Stored before the machine knows of it: an enrolled node must have its token, also after a power cut.
        self.vault
            .store_node_token(&node_token, &answer.node_id)
            .map_err(|error| call_failure::failure(CallFailureKind::Unavailable, error.to_string()))?;
        failpoint::hit("register.stored");
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

    async fn heartbeat(&self, op: OpId, heartbeat: &Heartbeat) -> Event {
        match self.try_heartbeat(heartbeat).await {
            Ok(answer) => {
                let credentials_stored = self.store_credentials(&answer);
                Event::HeartbeatAnswered {
                    op,
                    node_id: self.vault.node_id(),
                    instructions: Box::new(answer.instructions),
                    credentials_stored,
                }
            }
            Err(failure) => Event::HeartbeatFailed { op, failure },
        }
    }

    async fn try_heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, CallFailure> {
        let client = self.client()?;
        let Some(token) = self.vault.node_token() else {
            return Err(no_credentials("there is no node token in the store".to_owned()));
        };
        let body = http::to_json(heartbeat)?;
        let answer = client.post(http::Call::Heartbeat, Some(&token), body).await;
        let answer = answer.and_then(|answer| read_heartbeat_answer(&answer));
        match &answer {
            Ok(_) => {
                if let Err(error) = self.vault.token_accepted(token.id()) {
                    warn!(token = %token.id(), %error, "cannot delete older node tokens; the next heartbeat tries again");
                }
            }
            Err(failure)
                if matches!(
                    failure.kind,
                    CallFailureKind::Unauthorized | CallFailureKind::Removed
                ) =>
            {
                self.vault.token_refused(token.id());
            }
            Err(_) => {}
        }
        answer
    }

    /// Stores a new node token of the answer; true if there was one and it is on disk.
    fn store_credentials(&self, answer: &HeartbeatAnswer) -> bool {
        let Some(credentials) = &answer.credentials else {
            return false;
        };
        let stored = Token::parse(TokenKind::Node, credentials.node_token.expose())
            .map_err(|error| error.to_string())
            .and_then(|token| {
                self.vault
                    .store_next_token(&token)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = &stored {
            warn!(
                error,
                "the new node token from Cloudly is not used; the current one stays in use"
            );
        }
        stored.is_ok()
    }
}

/// Reads the two parts one after the other. Reading a [`HeartbeatAnswer`], which flattens them into one object, would
/// compile everything in the instructions a second time, 30 KiB.
fn read_heartbeat_answer(answer: &Answer) -> Result<HeartbeatAnswer, CallFailure> {
    #[derive(Deserialize)]
    struct Secrets {
        credentials: Option<Credentials>,
    }
    let Secrets { credentials } = http::from_json(answer)?;
    Ok(HeartbeatAnswer {
        instructions: http::from_json(answer)?,
        credentials,
    })
}

fn no_credentials(message: String) -> CallFailure {
    call_failure::failure(CallFailureKind::NoCredentials, message)
}

#[cfg(test)]
mod tests;
