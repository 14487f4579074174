//! The machine around the agent: stops, reboots, a clock that lies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::UpdateState;
use baseos_simulator::clock::Clock;
use baseos_simulator::harness::{Stage, StageOptions};
use baseos_simulator::supervisor::{Behaviour, Image};
use program::launcher::Launcher;
use program::{Deeds as _, PATIENCE, V1, V2, policy};
use std::time::Duration;

fn slow(mut options: StageOptions) -> StageOptions {
    options.registry = options
        .registry
        .with("onebox:2", Image::new(Behaviour::Runs, 3000));
    options
}

fn lease(ttl_seconds: u32) -> LockRequest {
    LockRequest {
        reason: "backup running".into(),
        ttl_seconds,
        scope: LockScope::App,
    }
}

/// Stops the agent as `docker stop` does: it parks within ten seconds, and Cloudly knows at once.
async fn stop_and_start(stage: &Stage) {
    let starts = stage.device.starts("baserunner");
    let clock = Clock::start();
    stage.device.stop_container("baserunner");
    stage
        .wait_node("Cloudly heard the goodbye", PATIENCE, |node| {
            node.presence == PresenceState::Offline
        })
        .await
        .unwrap();
    let stopped = "the process has ended";
    baseos_simulator::harness::wait_until(stopped, PATIENCE, async || {
        let pid = stage.device.pid("baserunner");
        pid.map_or(Ok(()), |pid| Err(format!("it is still {pid}")))
    })
    .await
    .unwrap();
    assert!(clock.now() < Duration::from_secs(10), "{:?}", clock.now());
    assert_eq!(
        stage.device.exits("baserunner").last(),
        Some(&0),
        "{}",
        stage.diagnostics()
    );
    stage.device.start_container("baserunner");
    stage.wait_started(starts + 1).await.unwrap();
    stage
        .wait_node("it is back", PATIENCE, |node| {
            node.presence == PresenceState::Online
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stop_while_idle_or_waiting_is_clean() {
    let stage = Stage::start(slow(program::options())).await.unwrap();
    stage.settle().await.unwrap();
    stop_and_start(&stage).await;
    stage.agent.lock("backup", &lease(600)).await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    stop_and_start(&stage).await;
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(
        stage.agent.locks().await.unwrap().locks.len(),
        1,
        "the lease outlives the restart"
    );
    assert_eq!(stage.lock_files().len(), 2);
    stage.agent.unlock("backup").await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_stop_while_applying_or_verifying_is_clean() {
    let stage = Stage::start(slow(program::options())).await.unwrap();
    stage.settle().await.unwrap();
    let policy = Policy {
        health_seconds: 5,
        ..policy()
    };
    stage.desire(Some(V2), policy).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    stop_and_start(&stage).await;
    stage.wait_phase(UpdateState::Verifying, V2).await.unwrap();
    stop_and_start(&stage).await;
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(program::posts(&stage, V2), 1);
    stage.assert_sound().await;
}

/// The kernel's boot id, as the device's would be: the simulator writes it beside the run directory.
const BOOT_ID: &str = "exec unshare -m sh -c \
    'mount --bind $BASEOS_RUN_DIR/../boot_id /proc/sys/kernel/random/boot_id && exec $0' $AGENT";

#[tokio::test]
async fn a_reboot_in_mid_update_is_survived() {
    let launcher = Launcher::new(BOOT_ID);
    let stage = Stage::start(slow(launcher.options())).await.unwrap();
    stage.settle().await.unwrap();
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Applying, V2).await.unwrap();
    stage.device.power_cycle();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.endings(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(program::posts(&stage, V2), 1);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_reboot_ends_every_lease() {
    let launcher = Launcher::new(BOOT_ID);
    let stage = Stage::start(launcher.options()).await.unwrap();
    stage.settle().await.unwrap();
    stage.agent.lock("backup", &lease(600)).await.unwrap();
    // A restart without a reboot keeps it.
    stage.device.kill("baserunner");
    stage.wait_started(2).await.unwrap();
    assert_eq!(stage.agent.locks().await.unwrap().locks.len(), 1);
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    stage.device.power_cycle();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert!(stage.agent.locks().await.unwrap().locks.is_empty());
    assert!(stage.lock_files().is_empty());
    stage.assert_sound().await;
}

/// Debian's libfaketime; it moves the wall clock of libc, while the boot-time clock is asked of the kernel.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

async fn with_a_clock_off_by(offset: &str) {
    assert!(
        std::path::Path::new(FAKETIME).is_file(),
        "apt-get install libfaketime"
    );
    let mut options = slow(program::options());
    for (name, value) in [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME", offset),
        ("DONT_FAKE_MONOTONIC", "1"),
    ] {
        options
            .agent_environment
            .insert(name.to_owned(), value.to_owned());
    }
    let stage = Stage::start(options).await.unwrap();
    stage.settle().await.unwrap();
    stage
        .wait_node("Cloudly hears of the clock", PATIENCE, |node| {
            program::has_issue(node, "clockSkew")
        })
        .await
        .unwrap();
    let lock = stage.agent.lock("backup", &lease(5)).await.unwrap();
    assert!(lock.remaining_seconds <= 5);
    stage.want(V2).await.unwrap();
    stage.wait_phase(UpdateState::Waiting, V2).await.unwrap();
    // The lease ends by itself, when it should and not ten years off.
    let node = stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(node.presence, PresenceState::Online);
    assert!(stage.device.runs(V2) && !stage.device.runs(V1));
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_clock_ten_years_ahead_changes_nothing() {
    with_a_clock_off_by("+3650d").await;
}

#[tokio::test]
async fn a_clock_ten_years_behind_changes_nothing() {
    with_a_clock_off_by("-3650d").await;
}
