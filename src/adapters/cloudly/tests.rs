//! The port against a Cloudly that answers well, badly, never and for ever.

mod answers;
mod faults;
mod secrets;
mod settings;
mod tls;

use super::CloudlyPort;
use super::settings::Deadlines;
use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::CallFailure;
use crate::vault::{Endpoint, Vault, VaultError};
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::{Token, TokenId, TokenKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the fake Cloudly answers to a heartbeat with nothing to say.
const QUIET: &str = r#"{"serverTime":"2026-11-22T22:41:07Z","nextHeartbeatSeconds":60}"#;

fn token(kind: TokenKind, seed: u8) -> Token {
    let mut next = seed;
    Token::mint(kind, |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(181).wrapping_add(71);
            *byte = next;
        }
    })
}

/// Remembers what it was asked to keep.
#[derive(Default)]
struct Store {
    join: Option<Token>,
    node: Option<Token>,
    broken: bool,
    calls: Mutex<Vec<String>>,
}

impl Store {
    fn enrolled() -> Arc<Self> {
        Arc::new(Self {
            join: Some(token(TokenKind::Join, 1)),
            node: Some(token(TokenKind::Node, 2)),
            ..Self::default()
        })
    }

    fn note(&self, call: String) -> Result<(), VaultError> {
        self.calls.lock().unwrap().push(call);
        if self.broken {
            return Err(VaultError("no space left on device".to_owned()));
        }
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Vault for Store {
    fn node_token(&self) -> Option<Token> {
        self.node.clone()
    }

    fn store_node_token(&self, token: &Token) -> Result<(), VaultError> {
        self.note(format!("store {}", token.id()))
    }

    fn store_next_token(&self, token: &Token) -> Result<(), VaultError> {
        self.note(format!("store next {}", token.id()))
    }

    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError> {
        self.note(format!("accepted {id}"))
    }

    fn token_refused(&self, id: &TokenId) {
        let _ = self.note(format!("refused {id}"));
    }

    fn join_token(&self, id: &TokenId) -> Option<Token> {
        self.join.clone().filter(|token| token.id() == id)
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

fn short() -> Deadlines {
    Deadlines {
        connect: Duration::from_secs(1),
        progress: Duration::from_millis(500),
        call: Duration::from_millis(1500),
    }
}

fn body() -> Heartbeat {
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
        heartbeat: Box::new(body()),
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

/// Lets a port perform these effects and collects what comes of them.
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

async fn perform_at(url: String, store: Arc<Store>, effects: Vec<Effect>) -> Vec<Event> {
    let port = CloudlyPort::with_deadlines(Some(&endpoint(url)), store, short()).unwrap();
    perform(port, effects).await
}

/// One heartbeat that must fail.
async fn failed_heartbeat(url: String, store: Arc<Store>) -> CallFailure {
    match perform_at(url, store, vec![heartbeat(7)]).await.pop() {
        Some(Event::HeartbeatFailed { op: OpId(7), failure }) => failure,
        other => panic!("{other:?}"),
    }
}
