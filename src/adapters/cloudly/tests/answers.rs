//! What goes out, and what Cloudly's good answers become.

use super::*;
use crate::adapters::fake::{Fake, Reply, json};
use crate::lifecycle::facts::CallFailureKind;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::command::{CommandResult, CommandState};
use baseos_interfaces::heartbeat::NodeEvent;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use baseos_interfaces::register::Approval;
use jiff::Timestamp;

fn registered() -> String {
    let token = token(TokenKind::Node, 3);
    format!(
        r#"{{"nodeId":"node_01JD8V3T5Q","nodeToken":"{}","approval":"pending","approvalReason":"possibleReplacement",
            "fleet":{{"id":"flt_edge","name":"edge"}},"nextHeartbeatSeconds":15,"new":true,
            "limits":{{"minHeartbeatSeconds":12,"maxBodyBytes":65536}},"serverTime":"2026-11-22T22:41:07Z"}}"#,
        token.expose()
    )
}

#[tokio::test]
async fn a_registration_carries_the_join_token_and_stores_the_node_token_first() {
    for status in ["201 Created", "200 OK"] {
        let fake = Fake::start(move |_| Reply::Bytes(json(status, registered()))).await;
        let store = Store::enrolled();
        let url = format!("http://{}/base/", fake.address);
        let events = perform_at(url, store.clone(), vec![register(5)]).await;
        let [Event::Registered { op: OpId(5), node }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(node.node_id, "node_01JD8V3T5Q");
        assert_eq!(node.approval, Approval::Pending);
        assert_eq!(node.limits.min_heartbeat_seconds, 12);
        assert_eq!(
            store.calls(),
            [format!("store {}", token(TokenKind::Node, 3).id())]
        );
        let seen = fake.seen().pop().unwrap();
        assert_eq!(seen.line(), "POST /base/baseos/v1/nodes/register HTTP/1.1");
        assert!(!seen.head.contains("authorization"));
        assert!(seen.head.contains("user-agent: baserunner/0.1.0\r\n"));
        let body = seen.json();
        assert_eq!(body["joinToken"], token(TokenKind::Join, 1).expose());
        assert_eq!(body["registrationId"], "0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20");
        assert_eq!(
            body["capabilities"],
            serde_json::json!(["commands", "localLocks", "directTarget"])
        );
    }
}

#[tokio::test]
async fn a_registration_that_cannot_be_kept_is_none() {
    let store = Store {
        join: Some(token(TokenKind::Join, 1)),
        broken: true,
        ..Store::default()
    };
    let fake = Fake::start(|_| Reply::Bytes(json("201 Created", registered()))).await;
    let url = format!("http://{}", fake.address);
    let events = perform_at(url.clone(), Arc::new(store), vec![register(5)]).await;
    let [Event::RegisterFailed { failure, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(failure.kind, CallFailureKind::Unavailable);
    assert!(failure.message.contains("no space left"), "{failure:?}");

    let events = perform_at(url, Arc::default(), vec![register(5), heartbeat(6)]).await;
    let [
        Event::RegisterFailed { failure: first, .. },
        Event::HeartbeatFailed { failure: second, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(first.kind, CallFailureKind::NoCredentials);
    assert_eq!(second.kind, CallFailureKind::NoCredentials);
    assert_eq!(fake.seen().len(), 1, "without a token nothing is sent");
}

#[tokio::test]
async fn a_node_token_that_is_none_is_garbage() {
    let answer = registered().replace("szn_", "szj_");
    let fake = Fake::start(move |_| Reply::Bytes(json("201 Created", &answer))).await;
    let store = Store::enrolled();
    let events = perform_at(
        format!("http://{}", fake.address),
        store.clone(),
        vec![register(1)],
    )
    .await;
    let [Event::RegisterFailed { failure, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(failure.kind, CallFailureKind::Garbage);
    assert!(store.calls().is_empty());
}

#[tokio::test]
async fn an_idle_beat_is_small_and_all_of_them_share_a_connection() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", QUIET))).await;
    let store = Store::enrolled();
    let url = format!("http://{}", fake.address);
    let events = perform_at(url, store.clone(), (0..20).map(heartbeat).collect()).await;
    assert_eq!(events.len(), 20);
    let [
        Event::HeartbeatAnswered {
            instructions,
            credentials_stored: false,
            ..
        },
        ..,
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(instructions.next_heartbeat_seconds, 60);
    assert_eq!(fake.connections(), 1);
    assert_eq!(
        store.calls()[0],
        format!("accepted {}", token(TokenKind::Node, 2).id())
    );
    let seen = fake.seen().pop().unwrap();
    let authorization = format!("authorization: Bearer {}", token(TokenKind::Node, 2).expose());
    assert!(seen.head.contains(&authorization));
    // A beat costs its request and an answer (status line, content type, length, date, request id, body), each
    // with 22 bytes of TLS record and 52 of TCP and IP, and the answer's acknowledgement.
    let answer = 17 + 32 + 20 + 37 + 34 + 2 + QUIET.len();
    let wire = seen.len() + answer + 2 * (22 + 52) + 52;
    assert!(wire <= 750, "{wire} bytes: {}", seen.head);
    let mut names: Vec<_> = seen
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split(':').next())
        .collect();
    names.sort_unstable();
    names.retain(|name| !name.is_empty());
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host"
        ]
    );
}

#[tokio::test]
async fn new_credentials_are_kept_beside_the_present_ones() {
    let new = token(TokenKind::Node, 9);
    let answer = |text: &str| {
        format!(
            r#"{{"serverTime":"2026-11-22T22:41:07Z","nextHeartbeatSeconds":60,"credentials":{{"nodeToken":"{text}"}},
                "commands":[{{"id":"cmd_1","type":"notYetInvented","issuedAt":"2026-11-22T22:41:07Z","params":{{}}}}]}}"#
        )
    };
    for (text, stored) in [(new.expose(), true), ("szn_nonsense", false)] {
        let body = answer(text);
        let fake = Fake::start(move |_| Reply::Bytes(json("200 OK", &body))).await;
        let store = Store::enrolled();
        let events = perform_at(
            format!("http://{}", fake.address),
            store.clone(),
            vec![heartbeat(1)],
        )
        .await;
        let [
            Event::HeartbeatAnswered {
                credentials_stored,
                instructions,
                ..
            },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(*credentials_stored, stored);
        assert_eq!(instructions.commands.len(), 1);
        assert_eq!(
            store.calls().contains(&format!("store next {}", new.id())),
            stored
        );
    }
}

#[tokio::test]
async fn an_effect_of_another_port_is_passed_over() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", QUIET))).await;
    let effects = vec![Effect::Stop, heartbeat(1)];
    let events = perform_at(format!("http://{}", fake.address), Store::enrolled(), effects).await;
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_beat_with_too_much_to_say_still_arrives() {
    let event = |n: usize| NodeEvent {
        id: format!("e_{n}"),
        at: Timestamp::UNIX_EPOCH,
        kind: EventKind::Transition,
        data: "x".repeat(1000).into(),
    };
    let result = |n: usize| CommandResult {
        id: format!("cmd_{n}"),
        state: CommandState::Succeeded,
        finished_at: Timestamp::UNIX_EPOCH,
        message: Some("ä".repeat(8 * 1024)),
    };
    for (events, results) in [(200, 0), (3, 0), (40, 3), (0, 8), (0, 400)] {
        let mut large = body();
        large.events = (0..events).map(event).collect();
        large.command_results = (0..results).map(result).collect();
        let encoded = super::super::size_limit::encode(large).unwrap();
        assert!(encoded.len() <= HEARTBEAT_MAX_BYTES, "{} bytes", encoded.len());
        let sent: Heartbeat = serde_json::from_slice(&encoded).unwrap();
        assert_eq!(sent.command_results.len(), results, "no result is lost");
        if (events, results) == (3, 0) {
            assert_eq!(sent.events.len(), 3);
        }
        if let Some(last) = sent.events.last() {
            assert_eq!(last.id, format!("e_{}", events - 1), "the newest events stay");
        }
    }
}
