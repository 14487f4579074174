use super::*;
use crate::lifecycle::time::Millis;
use baseos_interfaces::rules::{DEPTH_MAX, is_shallow};
use serde_json::json;
use std::collections::BTreeSet;

fn now() -> Stamp {
    Stamp {
        boot: Millis(1000),
        wall: Timestamp::UNIX_EPOCH,
        entropy: 0,
    }
}

fn ids(outbox: &Outbox) -> Vec<String> {
    outbox.pending().into_iter().map(|event| event.id).collect()
}

#[test]
fn an_id_never_comes_again_when_the_disk_was_lost() {
    let mut seen = BTreeSet::new();
    for run in ["r_8c1f0a2b", "r_00c0ffee"] {
        // A new disk: it begins to count anew.
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push(run, now(), EventKind::Transition, json!({}));
        }
        assert!(ids(&outbox).into_iter().all(|id| seen.insert(id)), "{seen:?}");
    }
    assert!(seen.contains("e_8c1f0a2b_1"));
}

/// Cloudly refuses a heartbeat with an event that is nested deeper, and so would never get the ones behind it.
#[test]
fn no_event_is_nested_deeper_than_cloudly_takes() {
    for depth in [DEPTH_MAX - 1, DEPTH_MAX, 100] {
        let nested = (0..depth).fold(json!("innermost"), |inner, _| json!({ "in": [inner] }));
        let mut outbox = Outbox::default();
        let data = json!({ "target": "77c2a9e1", "nested": nested });
        outbox.push("r_1", now(), EventKind::Transition, data);
        let sent = outbox.pending().remove(0).data;
        assert!(is_shallow(&sent, DEPTH_MAX), "{sent}");
        assert_eq!(sent["target"], "77c2a9e1");
    }
    let taken = (0..DEPTH_MAX).fold(json!("innermost"), |inner, _| json!([inner]));
    let mut outbox = Outbox::default();
    outbox.push("r_1", now(), EventKind::Transition, taken.clone());
    assert_eq!(outbox.pending()[0].data, taken);
}

#[test]
fn how_updates_ended_outlasts_the_transitions_of_a_long_outage() {
    let mut outbox = Outbox::default();
    for number in 0..500 {
        let kind = if number % 20 == 0 {
            EventKind::UpdateFinished
        } else {
            EventKind::Transition
        };
        outbox.push("r_1", now(), kind, json!({ "number": number }));
    }
    let pending = outbox.pending();
    assert_eq!(pending.len(), CAPACITY);
    let ends = pending
        .iter()
        .filter(|event| event.kind == EventKind::UpdateFinished);
    assert_eq!(ends.count(), 25);
    assert!(pending.is_sorted_by_key(|event| event.data["number"].as_u64()));
}

#[test]
fn only_what_was_sent_is_ticked_off() {
    let mut outbox = Outbox::default();
    for _ in 0..5 {
        outbox.push("r_1", now(), EventKind::Transition, json!({}));
    }
    outbox.delivered("e_1_2");
    assert_eq!(ids(&outbox), ["e_1_3", "e_1_4", "e_1_5"]);
    outbox.delivered("e_1_2");
    outbox.delivered("e_unknown");
    assert_eq!(outbox.pending().len(), 3);
}
