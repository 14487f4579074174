//! Requests, and the results of valid answers.

use super::*;
use crate::adapters::fake::{Reply, json};
use crate::lifecycle::facts::CallFailureKind;
use baseos_interfaces::register::Approval;

/// The answer to a registration.
fn registration_answer() -> String {
    let token = token(TokenKind::Node, 3);
    format!(
        r#"{{"nodeId":"node_01JD8V3T5Q","nodeToken":"{}","approval":"pending","approvalReason":"possibleReplacement",
            "fleet":{{"id":"flt_edge","name":"edge"}},"nextHeartbeatSeconds":15,"new":true,
            "limits":{{"minHeartbeatSeconds":12,"maxBodyBytes":65536}},"serverTime":"2026-11-22T22:41:07Z"}}"#,
        token.expose()
    )
}

#[tokio::test]
async fn a_registration_sends_the_join_token_and_stores_the_node_token() {
    for status in ["201 Created", "200 OK"] {
        let fake = Fake::start(move |_| Reply::Bytes(json(status, registration_answer()))).await;
        let vault = RecordingVault::enrolled();
        let events = perform_at(format!("{}/base/", url(&fake)), vault.clone(), vec![register(5)]).await;
        let [Event::Registered { op: OpId(5), node }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(node.node_id, "node_01JD8V3T5Q");
        assert_eq!(node.approval, Approval::Pending);
        assert_eq!(node.limits.min_heartbeat_seconds, 12);
        assert_eq!(
            vault.calls(),
            [format!(
                "store {} of node_01JD8V3T5Q",
                token(TokenKind::Node, 3).id()
            )]
        );
        let request = fake.seen().pop().unwrap();
        assert_eq!(request.line(), "POST /base/baseos/v1/nodes/register HTTP/1.1");
        assert!(!request.head.contains("authorization"));
        assert!(request.head.contains("user-agent: baserunner/0.1.0\r\n"));
        let body = request.json();
        assert_eq!(body["joinToken"], token(TokenKind::Join, 1).expose());
        assert_eq!(body["registrationId"], "0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20");
        assert_eq!(
            body["capabilities"],
            serde_json::json!(["commands", "localLocks", "directTarget"])
        );
    }
}

#[tokio::test]
async fn a_registration_fails_when_its_node_token_cannot_be_stored() {
    let vault = RecordingVault {
        join_token: Some(token(TokenKind::Join, 1)),
        disk_full: true,
        ..RecordingVault::default()
    };
    let fake = Fake::start(|_| Reply::Bytes(json("201 Created", registration_answer()))).await;
    let events = perform_at(url(&fake), Arc::new(vault), vec![register(5)]).await;
    let failure = failed_registration(events);
    assert_eq!(failure.kind, CallFailureKind::Unavailable);
    assert!(failure.message.contains("no space left"), "{failure:?}");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let fake = Fake::start(|_| Reply::Bytes(json("201 Created", registration_answer()))).await;
    let events = perform_at(url(&fake), Arc::new(EmptyVault), vec![register(5), heartbeat(6)]).await;
    let [
        Event::RegisterFailed { failure: first, .. },
        Event::HeartbeatFailed { failure: second, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(first.kind, CallFailureKind::NoCredentials);
    assert_eq!(second.kind, CallFailureKind::NoCredentials);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn an_invalid_node_token_is_garbage_and_not_stored() {
    let answer = registration_answer().replace("szn_", "szj_");
    let fake = Fake::start(move |_| Reply::Bytes(json("201 Created", &answer))).await;
    let vault = RecordingVault::enrolled();
    let failure = failed_registration(perform_at(url(&fake), vault.clone(), vec![register(1)]).await);
    assert_eq!(failure.kind, CallFailureKind::Garbage);
    assert!(vault.calls().is_empty());
}

#[tokio::test]
async fn idle_heartbeats_are_small_and_share_a_connection() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", EMPTY_ANSWER))).await;
    let vault = RecordingVault::enrolled();
    let events = perform_at(url(&fake), vault.clone(), (0..20).map(heartbeat).collect()).await;
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
        vault.calls()[0],
        format!("accepted {}", token(TokenKind::Node, 2).id())
    );
    let request = fake.seen().pop().unwrap();
    let authorization = format!("authorization: Bearer {}", token(TokenKind::Node, 2).expose());
    assert!(request.head.contains(&authorization));
    // A heartbeat costs its request and an answer (status line, content type, length, date, request id, body), each
    // with 22 bytes of TLS record and 52 of TCP and IP, and the acknowledgement of the answer.
    let answer = 17 + 32 + 20 + 37 + 34 + 2 + EMPTY_ANSWER.len();
    let total = request.len() + answer + 2 * (22 + 52) + 52;
    assert!(total <= 750, "{total} bytes: {}", request.head);
    let mut names: Vec<_> = request
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split(':').next())
        .collect();
    names.sort_unstable();
    names.retain(|name| !name.is_empty());
    assert_eq!(names, ["authorization", "content-length", "content-type", "host"]);
}

#[tokio::test]
async fn a_valid_new_node_token_is_stored_beside_the_current_one() {
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
        let vault = RecordingVault::enrolled();
        let events = perform_at(url(&fake), vault.clone(), vec![heartbeat(1)]).await;
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
            vault.calls().contains(&format!("store next {}", new.id())),
            stored
        );
    }
}

#[tokio::test]
async fn an_effect_of_another_port_is_ignored() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", EMPTY_ANSWER))).await;
    let effects = vec![Effect::Stop, heartbeat(1)];
    let events = perform_at(url(&fake), RecordingVault::enrolled(), effects).await;
    assert_eq!(events.len(), 1);
}
