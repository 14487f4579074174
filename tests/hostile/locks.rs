//! Leased locks over the real socket: who gets one, for how long, and balena's lock files.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use crate::support::enrolled_agent::{EnrolledAgent, desired, release_2};
use crate::support::raw_http::{Answer, call_as};
use baseos_simulator::harness::{ensure, wait_until};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::fs::File;

const FILES: [&str; 2] = ["updates.lock", "resin-updates.lock"];

async fn lock(agent: &AgentProcess, client: &str, name: &str, seconds: u32) -> Answer {
    let body = json!({ "reason": "backup running", "ttlSeconds": seconds }).to_string();
    call_as(agent, client, "PUT", &format!("/v1/locks/{name}"), &body).await
}

/// Returns the status.
async fn unlock(agent: &AgentProcess, client: &str, name: &str) -> u16 {
    let path = format!("/v1/locks/{name}");
    call_as(agent, client, "DELETE", &path, "").await.status
}

/// Both files exist and a process has flocked them.
fn held(agent: &AgentProcess) -> Result<(), String> {
    for name in FILES {
        let file = File::open(agent.lock_dir().join(name)).map_err(|error| format!("{name}: {error}"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Err(format!("{name} is not flocked"));
        }
    }
    Ok(())
}

fn removed(agent: &AgentProcess) -> Result<(), String> {
    match FILES.iter().find(|name| agent.lock_dir().join(name).exists()) {
        Some(name) => Err(format!("{name} is still there")),
        None => Ok(()),
    }
}

async fn wait(expected: &str, look: impl Fn() -> Result<(), String>) {
    wait_until(expected, LIMIT, async || look()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_its_owner_renews_or_releases_a_lock_and_it_survives_a_crash() {
    let mut agent = AgentProcess::started().await;
    removed(&agent).unwrap();
    let first = lock(&agent, "Onebox", "backup", 600).await;
    assert_eq!(
        (first.status, first.json()["owner"].as_str()),
        (200, Some("onebox")),
        "{first:?}"
    );
    wait("the files are held", || held(&agent)).await;
    let other = lock(&agent, "Other", "backup", 5).await;
    assert_eq!(other.status, 423, "{other:?}");
    let retry_after: u32 = other.header("retry-after").unwrap().parse().unwrap();
    assert!((500..=600).contains(&retry_after), "{retry_after}");
    assert_eq!(unlock(&agent, "Other", "backup").await, 423);
    let second = lock(&agent, "Other", "index", 600).await;
    assert!(
        second.json()["fencing"].as_u64() > first.json()["fencing"].as_u64(),
        "{second:?}"
    );
    let renewed = lock(&agent, "Onebox", "backup", 3600).await;
    assert_eq!(renewed.json()["fencing"], first.json()["fencing"]);
    assert_eq!(renewed.json()["since"], first.json()["since"]);
    agent.kill().await;
    assert!(held(&agent).is_err(), "a dead process has flocked a file");
    assert!(
        removed(&agent).is_err(),
        "the Supervisor does not see the lock any more"
    );
    agent.start().await;
    wait("the files are held again", || held(&agent)).await;
    let locks = agent.api().locks().await.unwrap().locks;
    let names: Vec<_> = locks
        .iter()
        .map(|lock| (lock.name.as_str(), lock.owner.as_str()))
        .collect();
    assert_eq!(names, [("backup", "onebox"), ("index", "other")]);
    assert_eq!(unlock(&agent, "Onebox", "backup").await, 204);
    held(&agent).unwrap();
    assert_eq!(unlock(&agent, "Other", "index").await, 204);
    wait("the files are removed", || removed(&agent)).await;
    assert_eq!(unlock(&agent, "Other", "index").await, 204);
    // A lock that is not renewed expires, also after a restart.
    assert_eq!(lock(&agent, "Onebox", "short", 1).await.status, 200);
    wait("it expires", || removed(&agent)).await;
    assert_eq!(lock(&agent, "Onebox", "short", 2).await.status, 200);
    agent.kill().await;
    agent.start().await;
    wait("it expires after a restart", || removed(&agent)).await;
    assert!(agent.api().locks().await.unwrap().locks.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_more_than_32_locks() {
    let mut agent = AgentProcess::started().await;
    for number in 0..32 {
        assert_eq!(
            lock(&agent, "Onebox", &format!("l{number}"), 60).await.status,
            200
        );
    }
    let more = lock(&agent, "Onebox", "one-more", 60).await;
    assert_eq!(
        (more.status, more.header("retry-after")),
        (423, Some("60")),
        "{more:?}"
    );
    agent.check_health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_touch_the_lock_files_of_others() {
    let mut agent = AgentProcess::new();
    let foreign = agent.lock_dir().join(FILES[0]);
    std::fs::write(&foreign, "of another program").unwrap();
    agent.start().await;
    let untouched = || std::fs::read_to_string(&foreign).unwrap() == "of another program";
    wait_until("it is reported", LIMIT, async || {
        let locks = agent.api().locks().await.map_err(|error| error.to_string())?;
        ensure(!locks.foreign.is_empty(), String::new)
    })
    .await
    .unwrap();
    assert_eq!(lock(&agent, "Onebox", "backup", 60).await.status, 200);
    let other = agent.lock_dir().join(FILES[1]);
    wait("the agent makes the other file", || {
        ensure(other.exists(), String::new)
    })
    .await;
    assert!(untouched());
    let doctor = agent.api().doctor().await.unwrap();
    let check = doctor.checks.iter().find(|check| check.name == "locks").unwrap();
    assert!(!check.ok && check.fact.contains(FILES[0]), "{check:?}");
    assert_eq!(unlock(&agent, "Onebox", "backup").await, 204);
    wait("the agent removes its file", || {
        ensure(!other.exists(), String::new)
    })
    .await;
    assert!(untouched());
    agent.kill().await;
    agent.start().await;
    assert_eq!(agent.stop().await, Some(0));
    assert!(untouched());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_for_locks_and_no_new_ones_are_granted_meanwhile() {
    let enrolled = EnrolledAgent::start().await;
    assert_eq!(lock(&enrolled.agent, "Onebox", "backup", 60).await.status, 200);
    // Long enough for a look at the state that waits for it.
    enrolled.set_desired(&desired(1, &release_2(), |app| {
        app["policy"]["healthSeconds"] = json!(5);
    }));
    enrolled
        .agent
        .wait("it waits", |status| status.state.as_str() == "waiting")
        .await
        .unwrap();
    let blocked = enrolled.agent.api().status().await.unwrap().update.blocked_by;
    assert_eq!(blocked[0].holder.as_deref(), Some("onebox"), "{blocked:?}");
    assert_eq!(blocked[0].reason.as_deref(), Some("backup running"));
    let refused = lock(&enrolled.agent, "Other", "late", 60).await;
    assert_eq!(refused.status, 423, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(enrolled.agent.api().locks().await.unwrap().draining);
    assert_eq!(
        lock(&enrolled.agent, "Onebox", "backup", 60).await.status,
        200,
        "a renewal is not a new lock"
    );
    assert_eq!(enrolled.count_posted_targets(), 0);
    assert_eq!(unlock(&enrolled.agent, "Onebox", "backup").await, 204);
    enrolled
        .agent
        .wait("it is verified", |status| status.state.as_str() == "verifying")
        .await
        .unwrap();
    let refused = lock(&enrolled.agent, "Other", "late", 60).await;
    assert_eq!(refused.status, 423, "{refused:?}");
    enrolled
        .agent
        .wait("it is done", |status| status.state.as_str() == "idle")
        .await
        .unwrap();
    assert_eq!(lock(&enrolled.agent, "Other", "late", 60).await.status, 200);
    assert_eq!(enrolled.count_posted_targets(), 1);
}
