//! The port against a fake Cloudly.

mod answers;
mod clock;
mod faults;
mod secrets;
mod settings;
mod tls;

use super::CloudlyPort;
use super::settings::Timeouts;
use crate::adapters::fake::Fake;
use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::CallFailure;
use crate::proxy::ProxyChoice;
use crate::vault::test::{EmptyVault, token};
use crate::vault::{Endpoint, Vault, VaultError};
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenId, TokenKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// An answer to a heartbeat without instructions.
const EMPTY_ANSWER: &str = r#"{"serverTime":"2026-11-22T22:41:07Z","nextHeartbeatSeconds":60}"#;

/// A vault that records calls.
#[derive(Default)]
struct RecordingVault {
    join_token: Option<Token>,
    node_token: Option<Token>,
    /// Whether storing fails.
    disk_full: bool,
    calls: Mutex<Vec<String>>,
}

impl RecordingVault {
    /// A vault with a join token and a node token.
    fn enrolled() -> Arc<Self> {
        Arc::new(Self {
            join_token: Some(token(TokenKind::Join, 1)),
            node_token: Some(token(TokenKind::Node, 2)),
            ..Self::default()
        })
    }

    fn record(&self, call: String) -> Result<(), VaultError> {
        self.calls.lock().unwrap().push(call);
        if self.disk_full {
            return Err(VaultError("no space left on device".to_owned()));
        }
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Vault for RecordingVault {
    fn node_token(&self) -> Option<Token> {
        self.node_token.clone()
    }

    fn node_id(&self) -> Option<String> {
        Some("node_a".to_owned())
    }

    fn store_node_token(&self, token: &Token, node_id: &str) -> Result<(), VaultError> {
        self.record(format!("store {} of {node_id}", token.id()))
    }

    fn store_next_token(&self, token: &Token) -> Result<(), VaultError> {
        self.record(format!("store next {}", token.id()))
    }

    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError> {
        self.record(format!("accepted {id}"))
    }

    fn token_refused(&self, id: &TokenId) {
        let _ = self.record(format!("refused {id}"));
    }

    fn join_token(&self, id: &TokenId) -> Option<Token> {
        self.join_token.clone().filter(|token| token.id() == id)
    }

    fn offer_join_token(&self, _: &Token) -> Result<(), VaultError> {
        unreachable!("the port only uses tokens")
    }

    fn forget_join_token(&self, _: &TokenId) -> Result<(), VaultError> {
        unreachable!("the port only uses tokens")
    }
}

fn endpoint(url: impl Into<String>) -> Endpoint {
    Endpoint {
        url: url.into(),
        ca_pem: None,
        allow_http: true,
    }
}

fn short_timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(1),
        progress: Duration::from_millis(500),
        call: Duration::from_millis(1500),
    }
}

fn heartbeat_body() -> Heartbeat {
    Heartbeat {
        protocol_version: 1,
        run_id: "r_8c1f".to_owned(),
        sequence: 1842,
        sent_at: None,
        status_hash: "9f2c8a117cd0553e".to_owned(),
        observed_revision: 41,
        status: None,
        events: Vec::new(),
        command_results: Vec::new(),
        goodbye: false,
    }
}

fn heartbeat(op: u64) -> Effect {
    Effect::Heartbeat {
        op: OpId(op),
        heartbeat: Box::new(heartbeat_body()),
    }
}

fn register(op: u64) -> Effect {
    Effect::Register {
        op: OpId(op),
        token: token(TokenKind::Join, 1).id().clone(),
        registration_id: RegistrationId::parse("0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20").unwrap(),
        node: Box::new(NodeFacts {
            name: "edge-berlin-04".to_owned(),
            agent_version: "0.1.0".to_owned(),
            ..NodeFacts::default()
        }),
        labels: BTreeMap::from([("site".to_owned(), "berlin".to_owned())]),
    }
}

/// Lets a port perform these effects and returns the results.
async fn perform(port: CloudlyPort, effects: Vec<Effect>) -> Vec<Event> {
    let (mailbox, effects_in) = mpsc::channel(64);
    let (events_out, mut events) = mpsc::channel(64);
    for effect in effects {
        mailbox.send(effect).await.unwrap();
    }
    drop(mailbox);
    port.serve(effects_in, events_out).await;
    let mut all = Vec::new();
    while let Some(event) = events.recv().await {
        all.push(event);
    }
    all
}

fn url(fake: &Fake) -> String {
    format!("http://{}", fake.address)
}

async fn perform_at(url: String, vault: Arc<dyn Vault>, effects: Vec<Effect>) -> Vec<Event> {
    let port = CloudlyPort::with_timeouts(Some(&endpoint(url)), ProxyChoice::Direct, vault, short_timeouts())
        .unwrap();
    perform(port, effects).await
}

/// The failure of one heartbeat.
async fn failed_heartbeat(url: String, vault: Arc<dyn Vault>) -> CallFailure {
    match perform_at(url, vault, vec![heartbeat(7)]).await.pop() {
        Some(Event::HeartbeatFailed { op: OpId(7), failure }) => failure,
        other => panic!("{other:?}"),
    }
}

/// The failure of a registration, which must be the only event.
fn failed_registration(events: Vec<Event>) -> CallFailure {
    match <[Event; 1]>::try_from(events) {
        Ok([Event::RegisterFailed { failure, .. }]) => failure,
        other => panic!("{other:?}"),
    }
}
