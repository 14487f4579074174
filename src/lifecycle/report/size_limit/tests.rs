use super::*;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::{ErrorCode, EventKind};
use baseos_interfaces::command::CommandState;
use baseos_interfaces::status::{ServiceStatus, UpdateError};
use proptest::collection::vec;
use proptest::prelude::*;

fn heartbeat() -> Heartbeat {
    Heartbeat {
        protocol_version: 1,
        run_id: "r_8c1f0a2b".to_owned(),
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

fn event(number: usize, data: impl Into<Value>) -> NodeEvent {
    NodeEvent {
        id: format!("e_{number}"),
        at: Timestamp::UNIX_EPOCH,
        kind: EventKind::Transition,
        data: data.into(),
    }
}

fn result(number: usize, message: String) -> CommandResult {
    CommandResult {
        id: format!("cmd_{number}"),
        state: CommandState::Succeeded,
        finished_at: Timestamp::UNIX_EPOCH,
        message: Some(message),
    }
}

fn large_status() -> NodeStatus {
    let mut status: NodeStatus = serde_json::from_value(serde_json::json!({
        "supervisor": { "available": true, "error": null }, "os": {},
        "agent": { "version": "0.1.0", "startedAt": "2026-11-24T00:00:00Z", "restartCount": 0, "state": "failed" },
        "release": { "running": null, "previous": null }, "update": { "kind": "app", "state": "failed", "target": null, "error": null },
        "rollout": null, "network": {}, "health": { "state": "ok" }
    }))
    .unwrap();
    status.update.error = Some(UpdateError {
        code: ErrorCode::ReleaseRefused,
        message: "it breaks rules".to_owned(),
        evidence: (0..1000)
            .map(|number| format!("{number}: {}", "x".repeat(200)))
            .collect(),
        at: Timestamp::UNIX_EPOCH,
    });
    status
}

#[test]
fn a_status_with_much_evidence_keeps_the_first_lines_and_its_services() {
    let mut status = large_status();
    let service = ServiceStatus {
        image: None,
        status: "Running".to_owned(),
        stopped_by_operator: false,
    };
    status
        .release
        .get_or_insert_default()
        .services
        .insert("onebox".to_owned(), service);
    let cut = cut_status(status, SizeLimit::default());
    let error = cut.update.error.as_ref().unwrap();
    assert_eq!(
        (error.evidence.len(), cut.release.as_ref().unwrap().services.len()),
        (32, 1)
    );
    assert!(length(&cut) <= HEARTBEAT_MAX_BYTES / 2);
}

#[test]
fn a_status_with_thousands_of_services_says_the_rest() {
    let mut status = large_status();
    for number in 0..5000 {
        let service = ServiceStatus {
            image: Some("registry.example/onebox:1".to_owned()),
            status: "Running".to_owned(),
            stopped_by_operator: false,
        };
        status
            .release
            .get_or_insert_default()
            .services
            .insert(format!("s{number}"), service);
    }
    let cut = cut_status(status, SizeLimit::default());
    assert!(length(&cut) <= HEARTBEAT_MAX_BYTES / 2 && cut.update.error.is_some());
}

#[test]
fn events_that_do_not_fit_stay_and_none_between_is_left_out() {
    let mut large = heartbeat();
    let events = (0..200).map(|number| event(number, "x".repeat(1000))).collect();
    let filled = fill(&mut large, SizeLimit::default(), std::iter::empty(), events);
    assert!(length(&large) <= HEARTBEAT_MAX_BYTES && filled.left_over);
    let ids: Vec<_> = large.events.iter().map(|event| event.id.clone()).collect();
    let first: Vec<_> = (0..ids.len()).map(|number| format!("e_{number}")).collect();
    assert_eq!(ids, first);
    assert_eq!(filled.last_event, ids.last().cloned());
    assert!(ids.len() > 50, "{}", ids.len());
}

#[test]
fn an_event_with_endless_data_is_cut_and_does_not_block_the_ones_behind_it() {
    let evidence: Vec<_> = (0..10_000).map(|number| format!("line {number}")).collect();
    let data = serde_json::json!({ "target": "77c2a9e1", "error": { "evidence": evidence } });
    let mut large = heartbeat();
    let filled = fill(
        &mut large,
        SizeLimit::default(),
        std::iter::empty(),
        vec![event(1, data), event(2, Value::Null)],
    );
    assert_eq!(
        (filled.last_event.as_deref(), filled.left_over),
        (Some("e_2"), false)
    );
    assert_eq!(large.events[0].data["target"], "77c2a9e1");
    assert_eq!(large.events[0].data["error"]["evidence"][0], "line 0");
}

#[test]
fn of_a_log_that_does_not_fit_the_end_is_sent() {
    let mut large = heartbeat();
    let log = format!("{}the end", "\u{1}".repeat(100_000));
    let filled = fill(
        &mut large,
        SizeLimit::default(),
        [result(1, log)].into_iter(),
        Vec::new(),
    );
    assert_eq!(filled.results, ["cmd_1"]);
    assert!(
        large.command_results[0]
            .message
            .as_ref()
            .unwrap()
            .ends_with("the end")
    );
}

#[test]
fn of_a_log_no_more_is_cut_than_has_to_be() {
    for (room, kept) in [(24 * 1024, 16 * 1024), (16 * 1024, 4096)] {
        let mut large = heartbeat();
        let log = "x".repeat(40_000);
        fill(
            &mut large,
            SizeLimit::new(room),
            [result(1, log)].into_iter(),
            Vec::new(),
        );
        let message = large.command_results[0].message.as_ref().unwrap();
        assert_eq!(message.len(), kept + "…".len());
    }
}

proptest! {
    /// Whatever there is to say, each heartbeat fits, says only what it ticks off, and all of it gets through, in order.
    #[test]
    fn everything_gets_through_in_heartbeats_that_fit(
        events in vec(0usize..9_000, 0..64), results in vec(0usize..70_000, 0..8), with_status: bool,
        limit in 0u64..100_000,
    ) {
        let limit = SizeLimit::new(limit);
        let mut events: Vec<_> = events.iter().enumerate().map(|(n, size)| event(n, "\"ä".repeat(size / 3))).collect();
        let mut results: Vec<_> = results.iter().enumerate().map(|(n, size)| result(n, "\n".repeat(*size))).collect();
        let mut seen = (Vec::new(), Vec::new());
        let all: (Vec<_>, Vec<_>) = (
            events.iter().map(|event| event.id.clone()).collect(),
            results.iter().map(|result| result.id.clone()).collect(),
        );
        for _ in 0..40 {
            let mut next = heartbeat();
            next.status = with_status.then(|| Box::new(cut_status(large_status(), limit)));
            let filled = fill(&mut next, limit, results.iter().cloned(), events.clone());
            prop_assert!(length(&next) <= limit.0, "{}", length(&next));
            prop_assert_eq!(filled.last_event.as_ref(), next.events.last().map(|event| &event.id));
            seen.0.extend(next.events.iter().map(|event| event.id.clone()));
            seen.1.extend(next.command_results.iter().map(|result| result.id.clone()));
            events.drain(..next.events.len());
            results.retain(|result| !filled.results.contains(&result.id));
            prop_assert_eq!(filled.left_over, !events.is_empty() || !results.is_empty());
            if !filled.left_over {
                break;
            }
        }
        prop_assert_eq!(seen, all);
    }
}
