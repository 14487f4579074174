//! The commonest bad release, with the real programs: its service ends soon after each start, and balena's default
//! restart policy starts it again and again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::states::UpdateState;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{Stage, Version};
use program::{Deeds as _, V1, options, policy, posts};

const LOOPS: &str = "10091009100910ab";
const LOG: &str = "/v2/local/logs";

/// A stage that is told to go from `V1` to a release whose Onebox crash-loops.
async fn looping() -> Stage {
    let stage = Stage::start(options()).await.unwrap();
    stage.settle().await.unwrap();
    let bad = Version::new(LOOPS, "0.0.2", "onebox:crashes");
    stage.publish(&bad).await.unwrap();
    stage
}

async fn assert_rolled_back(stage: &Stage) {
    let node = stage
        .wait_ended(UpdateState::RolledBack, LOOPS, V1)
        .await
        .unwrap();
    let error = node.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "healthCheckFailed");
    assert!(error.evidence.contains(&"onebox exited".to_owned()), "{error:?}");
    assert_eq!(posts(stage, LOOPS), 1, "a bad release is not tried again");
    assert_eq!(stage.endings(LOOPS).await.unwrap(), ["rolled-back"]);
    assert_eq!(stage.device.starts("baserunner"), 1, "the agent was not touched");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_crash_loop_that_the_state_does_not_show_is_rolled_back() {
    let stage = looping().await;
    stage.desire(Some(LOOPS), policy()).await.unwrap();
    assert_rolled_back(&stage).await;
}

/// The log can be refused or break off; it is attached again while the update goes on.
#[tokio::test]
async fn a_log_that_breaks_off_is_attached_again() {
    let stage = looping().await;
    stage
        .device
        .fault(Fault::on(LOG, FaultKind::Status { code: 503 }).times(1));
    stage.device.fault(Fault::on(LOG, FaultKind::Truncated).times(1));
    let policy = baseos_interfaces::desired::Policy {
        health_seconds: 10,
        ..policy()
    };
    stage.desire(Some(LOOPS), policy).await.unwrap();
    assert_rolled_back(&stage).await;
}
