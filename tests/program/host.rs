//! The host around the agent: stops, reboots, and a wrong clock.

use crate::fixture::{Fixture, LIMIT, V1, V2, has_issue, options, policy, with_slow_v2};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::LockScope;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{ensure, wait_until};

/// Stops the agent with `docker stop` and starts it. It exits by itself, before SIGKILL after ten seconds, and Cloudly
/// knows at once.
async fn stop_and_start(fixture: &Fixture) {
    let starts = fixture.device.starts("baserunner");
    fixture.device.stop_container("baserunner");
    wait_presence(fixture, PresenceState::Offline).await;
    wait_until("the agent has stopped", LIMIT, async || {
        let pid = fixture.device.pid("baserunner");
        ensure(pid.is_none(), || format!("{pid:?} runs"))
    })
    .await
    .unwrap();
    let exit_codes = fixture.device.exit_codes("baserunner");
    assert_eq!(exit_codes.last(), Some(&0), "{}", fixture.diagnostics());
    fixture.device.start_container("baserunner");
    fixture.wait_agent_started(starts + 1).await.unwrap();
    wait_presence(fixture, PresenceState::Online).await;
}

async fn wait_presence(fixture: &Fixture, presence: PresenceState) {
    let expected = format!("the node is {presence:?}");
    let shown = fixture.wait_node(&expected, LIMIT, |node| node.presence == presence);
    shown.await.unwrap();
}

#[tokio::test]
async fn a_stop_while_idle_or_waiting_keeps_the_update_and_the_lock() {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    stop_and_start(&fixture).await;
    fixture.lock(LockScope::App, 600).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    stop_and_start(&fixture).await;
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    assert_eq!(fixture.agent.locks().await.unwrap().locks.len(), 1);
    assert_eq!(fixture.lock_files().len(), 2);
    fixture.agent.unlock("backup").await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_stop_while_applying_or_verifying_does_not_change_the_end() {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    let policy = Policy {
        health_seconds: 5,
        ..policy()
    };
    fixture.set_desired(Some(V2), policy).await.unwrap();
    for state in [UpdateState::Applying, UpdateState::Verifying] {
        fixture.wait_update_state(state, V2).await.unwrap();
        stop_and_start(&fixture).await;
    }
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

/// Gives the agent the boot id of the simulated device, which is in a file beside the run directory.
pub(crate) const WITH_BOOT_ID: &str = "exec unshare -m sh -c \
    'mount --bind $BASEOS_RUN_DIR/../boot_id /proc/sys/kernel/random/boot_id && exec $0 \"$@\"' $AGENT \"$@\"";

#[tokio::test]
async fn a_reboot_while_applying_does_not_change_the_end() {
    let script = WrapperScript::with_every_start(WITH_BOOT_ID);
    let fixture = Fixture::start(with_slow_v2(script.options())).await.unwrap();
    fixture.desire(V2).await.unwrap();
    let applying = fixture.wait_update_state(UpdateState::Applying, V2);
    applying.await.unwrap();
    fixture.device.power_cycle();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_reboot_ends_every_lock_and_a_restart_of_the_agent_does_not() {
    let script = WrapperScript::with_every_start(WITH_BOOT_ID);
    let fixture = Fixture::start(script.options()).await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(2).await.unwrap();
    assert_eq!(fixture.agent.locks().await.unwrap().locks.len(), 1);
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    fixture.device.power_cycle();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert!(fixture.agent.locks().await.unwrap().locks.is_empty());
    assert!(fixture.lock_files().is_empty());
    fixture.assert_consistent().await;
}

/// Changes the wall clock of libc; the boot-time clock is the kernel's.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// An update waits for a lock until it expires, which takes the usual time.
async fn update_with_clock_offset(offset: &str) {
    assert!(
        std::path::Path::new(FAKETIME).is_file(),
        "apt-get install libfaketime"
    );
    let options = options()
        .with_agent_variable("LD_PRELOAD", FAKETIME)
        .with_agent_variable("FAKETIME", offset)
        .with_agent_variable("DONT_FAKE_MONOTONIC", "1");
    let fixture = Fixture::start(options).await.unwrap();
    let reported = fixture.wait_node("the clock is reported", LIMIT, |node| {
        has_issue(node, "clockSkew")
    });
    reported.await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    let renewed = fixture.lock(LockScope::App, 5).await.unwrap();
    assert!(renewed.remaining_seconds <= 5, "{renewed:?}");
    let node = fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(node.presence, PresenceState::Online);
    assert!(fixture.device.runs(V2) && !fixture.device.runs(V1));
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_clock_ten_years_ahead_changes_neither_locks_nor_updates() {
    update_with_clock_offset("+3650d").await;
}

#[tokio::test]
async fn a_clock_ten_years_behind_changes_neither_locks_nor_updates() {
    update_with_clock_offset("-3650d").await;
}
