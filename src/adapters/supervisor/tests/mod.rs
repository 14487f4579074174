//! The port, the poller and the log reader against a fake Supervisor with recorded answers and with faults.

mod calls;
mod convert;
mod faults;
mod log_stream;
mod poll;
mod recorded;
mod views;

use super::poll::{PollIntervals, poll};
use super::settings::Timeouts;
use super::{SupervisorClient, SupervisorPort, SupervisorSettings};
use crate::adapters::fake::{Fake, Reply, Seen, http, json};
use crate::lifecycle::effect::{Effect, OpId, PollRate, SupervisorCall};
use crate::lifecycle::event::{Event, SupervisorAnswer};
use crate::lifecycle::facts::{SupervisorError, SupervisorView};
use futures_util::{Stream, StreamExt as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const KEY: &str = "0dd17f1e5ca1ab1e0ddba11c0ffee0ca";
const INTERVALS: PollIntervals = PollIntervals {
    slow: Duration::from_secs(60),
    fast: Duration::from_millis(20),
};

fn settings(address: &str) -> SupervisorSettings {
    SupervisorSettings {
        address: address.to_owned(),
        api_key: KEY.to_owned().into(),
    }
}

pub(super) fn client(address: SocketAddr) -> SupervisorClient {
    let timeouts = Timeouts {
        connect: Duration::from_secs(1),
        call: Duration::from_secs(1),
        work: Duration::from_secs(2),
    };
    SupervisorClient::with_timeouts(Some(settings(&format!("http://{address}"))), timeouts).unwrap()
}

/// The recorded answers of a Supervisor; a managed one requires the key.
fn recorded_reply(request: &Seen, managed: bool, device: &str, status: &str) -> Reply {
    let (path, key) = request.path().split_once("?apikey=").unwrap();
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

/// Lets a port perform these effects and returns the results.
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

/// The poller's next observation.
async fn next_observation(
    polls: &mut (impl Stream<Item = Event> + Unpin),
) -> Result<SupervisorView, SupervisorError> {
    match tokio::time::timeout(Duration::from_secs(5), polls.next()).await {
        Ok(Some(Event::SupervisorObserved(observed))) => *observed,
        other => panic!("{other:?}"),
    }
}
