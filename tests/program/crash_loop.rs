//! A release whose service ends soon after each start, with balena's default restart policy, which starts it again.

use crate::fixture::{Fixture, V1, options, policy};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::TestRelease;

const CRASHING: &str = "10091009100910ab";
const LOG_PATH: &str = "/v2/local/logs";

/// The release with the crash loop is published and not yet desired.
async fn with_crashing_release() -> Fixture {
    let fixture = Fixture::start(options()).await.unwrap();
    let release = TestRelease::new(CRASHING, "0.0.2", "onebox:crashes");
    fixture.publish(&release).await.unwrap();
    fixture
}

async fn assert_rolled_back(fixture: &Fixture) {
    let rolled_back = fixture.wait_update_ended(UpdateState::RolledBack, CRASHING, V1);
    let node = rolled_back.await.unwrap();
    let error = node.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "healthCheckFailed");
    assert!(error.evidence.contains(&"onebox exited".to_owned()), "{error:?}");
    assert_eq!(
        fixture.count_posts(CRASHING),
        1,
        "a bad release is not tried again"
    );
    assert_eq!(fixture.reported_ends(CRASHING).await.unwrap(), ["rolled-back"]);
    assert_eq!(
        fixture.device.starts("baserunner"),
        1,
        "the agent was not restarted"
    );
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn rolls_back_a_crash_loop_that_the_supervisors_state_does_not_show() {
    let fixture = with_crashing_release().await;
    fixture.set_desired(Some(CRASHING), policy()).await.unwrap();
    assert_rolled_back(&fixture).await;
}

#[tokio::test]
async fn opens_the_supervisors_log_again_when_it_is_refused_or_cut() {
    let fixture = with_crashing_release().await;
    for kind in [FaultKind::Status { code: 503 }, FaultKind::Truncated] {
        fixture.device.add_fault(Fault::on(LOG_PATH, kind).times(1));
    }
    let policy = Policy {
        health_seconds: 10,
        ..policy()
    };
    fixture.set_desired(Some(CRASHING), policy).await.unwrap();
    assert_rolled_back(&fixture).await;
}
