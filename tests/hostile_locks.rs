//! Leased locks over the real socket: who gets one, for how long, and what becomes of balena's lock files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/hostile.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod hostile;
#[path = "support/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod rig;
#[path = "support/site.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod site;
#[path = "support/wire.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod wire;

use baseos_simulator::harness::{Version, wait_until};
use rig::{Rig, SOON};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use site::{Site, desired};
use std::fs::File;
use wire::{Answer, call_as};

const FILES: [&str; 2] = ["updates.lock", "resin-updates.lock"];

async fn lock(rig: &Rig, who: &str, name: &str, seconds: u32) -> Answer {
    let body = json!({ "reason": "backup running", "ttlSeconds": seconds }).to_string();
    call_as(rig, who, "PUT", &format!("/v1/locks/{name}"), &body).await
}

/// Whether each of the two files is there and somebody has it flocked.
fn held(rig: &Rig) -> Result<(), String> {
    for name in FILES {
        let file = File::open(rig.lock_dir().join(name)).map_err(|error| format!("{name}: {error}"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Err(format!("{name} is not flocked"));
        }
    }
    Ok(())
}

fn gone(rig: &Rig) -> Result<(), String> {
    match FILES.iter().find(|name| rig.lock_dir().join(name).exists()) {
        Some(name) => Err(format!("{name} is still there")),
        None => Ok(()),
    }
}

async fn soon(what: &str, look: impl Fn() -> Result<(), String>) {
    wait_until(what, SOON, async || look()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_its_owners_is_renewed_and_outlives_a_crash() {
    let mut rig = Rig::new();
    rig.start().await;
    gone(&rig).unwrap();
    let first = lock(&rig, "Onebox", "backup", 600).await;
    assert_eq!(
        (first.status, first.json()["owner"].as_str()),
        (200, Some("onebox")),
        "{first:?}"
    );
    soon("the files are held", || held(&rig)).await;
    let other = lock(&rig, "Other", "backup", 5).await;
    assert_eq!(other.status, 423, "{other:?}");
    let wait: u32 = other.header("retry-after").unwrap().parse().unwrap();
    assert!((590..=600).contains(&wait), "{wait}");
    assert_eq!(
        call_as(&rig, "Other", "DELETE", "/v1/locks/backup", "")
            .await
            .status,
        423
    );
    let second = lock(&rig, "Other", "index", 600).await;
    assert!(
        second.json()["fencing"].as_u64() > first.json()["fencing"].as_u64(),
        "{second:?}"
    );
    let renewed = lock(&rig, "Onebox", "backup", 3600).await;
    assert_eq!(renewed.json()["fencing"], first.json()["fencing"]);
    assert_eq!(renewed.json()["since"], first.json()["since"]);
    rig.kill().await;
    assert!(held(&rig).is_err(), "a dead process holds nothing");
    assert!(gone(&rig).is_err(), "the Supervisor still sees the lock");
    rig.start().await;
    soon("the files are held again", || held(&rig)).await;
    let locks = rig.api().locks().await.unwrap().locks;
    let names: Vec<_> = locks
        .iter()
        .map(|lock| (lock.name.as_str(), lock.owner.as_str()))
        .collect();
    assert_eq!(names, [("backup", "onebox"), ("index", "other")]);
    assert_eq!(
        call_as(&rig, "Onebox", "DELETE", "/v1/locks/backup", "")
            .await
            .status,
        204
    );
    held(&rig).unwrap();
    assert_eq!(
        call_as(&rig, "Other", "DELETE", "/v1/locks/index", "")
            .await
            .status,
        204
    );
    soon("the files go", || gone(&rig)).await;
    assert_eq!(
        call_as(&rig, "Other", "DELETE", "/v1/locks/index", "")
            .await
            .status,
        204
    );
    // One that nobody renews ends by itself, also over a restart.
    assert_eq!(lock(&rig, "Onebox", "short", 1).await.status, 200);
    soon("it expires", || gone(&rig)).await;
    assert_eq!(lock(&rig, "Onebox", "short", 2).await.status, 200);
    rig.kill().await;
    rig.start().await;
    soon("it expires in another process", || gone(&rig)).await;
    assert!(rig.api().locks().await.unwrap().locks.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_locks_than_anybody_needs_are_refused() {
    let mut rig = Rig::new();
    rig.start().await;
    for number in 0..32 {
        assert_eq!(lock(&rig, "Onebox", &format!("l{number}"), 60).await.status, 200);
    }
    let more = lock(&rig, "Onebox", "one-more", 60).await;
    assert_eq!(
        (more.status, more.header("retry-after")),
        (423, Some("60")),
        "{more:?}"
    );
    rig.is_well().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_files_of_others_are_never_touched() {
    let mut rig = Rig::new();
    let foreign = rig.lock_dir().join(FILES[0]);
    std::fs::write(&foreign, "somebody else's").unwrap();
    rig.start().await;
    let untouched = || std::fs::read_to_string(&foreign).unwrap() == "somebody else's";
    wait_until("it is reported", SOON, async || {
        let locks = rig.api().locks().await.map_err(|error| error.to_string())?;
        if locks.foreign.is_empty() {
            Err("not yet".to_owned())
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    assert_eq!(lock(&rig, "Onebox", "backup", 60).await.status, 200);
    let other = rig.lock_dir().join(FILES[1]);
    soon("the other file is ours", || {
        other.exists().then_some(()).ok_or_else(String::new)
    })
    .await;
    assert!(untouched());
    let doctor = rig.api().doctor().await.unwrap();
    let check = doctor.checks.iter().find(|check| check.name == "locks").unwrap();
    assert!(!check.ok && check.fact.contains(FILES[0]), "{check:?}");
    assert_eq!(
        call_as(&rig, "Onebox", "DELETE", "/v1/locks/backup", "")
            .await
            .status,
        204
    );
    soon("ours goes", || {
        (!other.exists()).then_some(()).ok_or_else(String::new)
    })
    .await;
    assert!(untouched());
    rig.kill().await;
    rig.start().await;
    assert_eq!(rig.stop().await, Some(0));
    assert!(untouched());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_for_leases_and_gives_no_new_ones() {
    let site = Site::start().await;
    assert_eq!(lock(&site.rig, "Onebox", "backup", 60).await.status, 200);
    let release = Version::new("b2b2b2b2", "2.0.0", "onebox:2");
    site.order(json!({ "desired": desired(1, &release, |app| app["policy"]["healthSeconds"] = json!(3)) }));
    site.rig
        .wait("it waits", |status| status.state.as_str() == "waiting")
        .await
        .unwrap();
    let blocked = site.rig.api().status().await.unwrap().update.blocked_by;
    assert_eq!(blocked[0].holder.as_deref(), Some("onebox"), "{blocked:?}");
    assert_eq!(blocked[0].reason.as_deref(), Some("backup running"));
    let refused = lock(&site.rig, "Other", "late", 60).await;
    assert_eq!(refused.status, 423, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(site.rig.api().locks().await.unwrap().draining);
    assert_eq!(
        lock(&site.rig, "Onebox", "backup", 60).await.status,
        200,
        "a renewal is no new lease"
    );
    assert_eq!(site.posts(), 0);
    assert_eq!(
        call_as(&site.rig, "Onebox", "DELETE", "/v1/locks/backup", "")
            .await
            .status,
        204
    );
    site.rig
        .wait("it is verified", |status| status.state.as_str() == "verifying")
        .await
        .unwrap();
    let refused = lock(&site.rig, "Other", "late", 60).await;
    assert_eq!(refused.status, 423, "{refused:?}");
    site.rig
        .wait("it is done", |status| status.state.as_str() == "idle")
        .await
        .unwrap();
    assert_eq!(lock(&site.rig, "Other", "late", 60).await.status, 200);
    assert_eq!(site.posts(), 1);
}
