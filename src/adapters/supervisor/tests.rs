//! The port and the poller against a Supervisor that answers as the real one was seen to, and against worse.

mod calls;
mod exit_log;
mod faults;
mod looks;
mod recorded;

use super::settings::Deadlines;
use super::{SupervisorClient, SupervisorPort, SupervisorSettings};
use crate::adapters::fake::{Fake, Reply, Seen, http, json};
use crate::lifecycle::effect::{Effect, OpId, PollRate, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::SupervisorError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const KEY: &str = "0dd17f1e5ca1ab1e0ddba11c0ffee0ca";

fn client(address: SocketAddr) -> SupervisorClient {
    let settings = SupervisorSettings {
        address: format!("http://{address}"),
        api_key: KEY.to_owned().into(),
    };
    let deadlines = Deadlines {
        connect: Duration::from_secs(1),
        call: Duration::from_secs(1),
        work: Duration::from_secs(2),
    };
    SupervisorClient::with_deadlines(Some(settings), deadlines).unwrap()
}

/// What a real one answers, managed (it asks for the key) or not.
fn real(seen: &Seen, managed: bool, device: &str, status: &str) -> Reply {
    let (path, key) = seen.path().split_once("?apikey=").unwrap();
    if managed && key != KEY {
        return Reply::Bytes(http(
            "401 Unauthorized",
            &[("content-type", "text/plain")],
            "Unauthorized",
        ));
    }
    Reply::Bytes(match path {
        "/v1/device" => json("200 OK", device),
        "/v2/state/status" => json("200 OK", status),
        "/v2/version" => json("200 OK", r#"{"status":"success","version":"19.0.5"}"#),
        "/v2/local/target-state" => json("200 OK", recorded::TARGET),
        _ => http("404 Not Found", &[], "Not Found"),
    })
}

async fn perform(client: SupervisorClient, effects: Vec<Effect>) -> Vec<Event> {
    let (mailbox, effects_in) = mpsc::channel(64);
    let (events_out, mut events) = mpsc::channel(64);
    for effect in effects {
        mailbox.send(effect).await.unwrap();
    }
    drop(mailbox);
    let port = SupervisorPort::new(client, watch::channel(PollRate::Slow).0);
    port.serve(effects_in, events_out).await;
    let mut all = Vec::new();
    while let Some(event) = events.recv().await {
        all.push(event);
    }
    all
}

async fn call(client: SupervisorClient, call: SupervisorCall) -> Result<SupervisorAnswer, SupervisorError> {
    let effect = Effect::Supervisor { op: OpId(3), call };
    match perform(client, vec![effect]).await.pop() {
        Some(Event::SupervisorAnswered { op: OpId(3), answer }) => *answer,
        other => panic!("{other:?}"),
    }
}
