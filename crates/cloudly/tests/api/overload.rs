//! More comes than can be written: heartbeats are told to come later, the rest to come again; nothing is acknowledged
//! that is not stored.

use crate::support::{Cloudly, Device, Engine, connect, metrics, ok, problem, status};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};

/// Another program that holds the database.
async fn hold(cloudly: &Cloudly) -> AnyConnection {
    let mut other = connect(&cloudly.database_url).await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    other
}

async fn until_waiting(cloudly: &Cloudly, waiting: u64) {
    while metrics(cloudly).await["cloudly_database_waiting"] != waiting {
        tokio::task::yield_now().await;
    }
}

/// A status under a new hash, without an answer yet.
fn status_of(device: &mut Device) -> Value {
    device.hash = format!("h{}", device.sequence + 1);
    device.next(json!({ "status": status("idle", None, None) }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_not_acknowledged_and_comes_later() {
    let cloudly = Cloudly::start_with(Engine::Sqlite, |settings| settings.writes_waiting = 1).await;
    let mut devices = Vec::new();
    for name in ["writes", "waits", "status", "events"] {
        let mut device = cloudly.enrol(name).await;
        device.heartbeat(&cloudly).await;
        devices.push(device);
    }
    let heartbeats: Vec<_> = devices.iter_mut().map(status_of).collect();
    let held = hold(&cloudly).await;
    let before = metrics(&cloudly).await["cloudly_database_writes_total"];
    let writes = devices[0].send(&cloudly, &heartbeats[0]);
    let waits = async {
        while metrics(&cloudly).await["cloudly_database_writes_total"] == before {
            tokio::task::yield_now().await;
        }
        until_waiting(&cloudly, 0).await;
        devices[1].send(&cloudly, &heartbeats[1]).await
    };
    let refused = async {
        until_waiting(&cloudly, 1).await;
        let later: HeartbeatAnswer = ok(devices[2].send(&cloudly, &heartbeats[2]).await).await;
        let instructions = later.instructions;
        assert!(instructions.resend_full_status);
        assert!((240..=480).contains(&instructions.next_heartbeat_seconds));
        let mut heartbeat = heartbeats[3].clone();
        heartbeat["events"] =
            json!([{ "id": "e_1", "at": "2026-11-23T11:00:00Z", "type": "transition", "data": {} }]);
        let refused = problem(devices[3].send(&cloudly, &heartbeat).await).await;
        assert_eq!((refused.status, refused.code.as_str()), (503, "unavailable"));
        assert!(refused.retryable);
        let seconds = refused.retry_after_seconds.unwrap();
        assert!((60..=120).contains(&seconds), "{seconds}");
        held.close().await.unwrap();
    };
    let (writes, waits, ()) = tokio::join!(writes, waits, refused);
    for answer in [writes, waits] {
        let _: HeartbeatAnswer = ok(answer).await;
    }
    let stored = |node: baseos_interfaces::admin::NodeRecord| node.status.is_some();
    assert!(stored(cloudly.node(&devices[0]).await) && stored(cloudly.node(&devices[1]).await));
    assert!(!stored(cloudly.node(&devices[2]).await) && !stored(cloudly.node(&devices[3]).await));
    let again = devices[2].heartbeat(&cloudly).await;
    assert!(again.instructions.resend_full_status, "it is still needed");
}
