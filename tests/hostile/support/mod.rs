//! What the tests share.

pub(crate) mod agent;
pub(crate) mod enrolled_agent;
pub(crate) mod proxy;
pub(crate) mod raw_http;
pub(crate) mod scripted_server;
pub(crate) mod tls_front;

use baseos_simulator::harness::{TestRelease, Testbed};
use std::time::Duration;

/// More than anything takes on a busy computer; a test that needs it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// For several steps of an update.
pub(crate) const UPDATE_LIMIT: Duration = Duration::from_secs(60);
/// The Supervisor's API key.
pub(crate) const SUPERVISOR_KEY: &str = "c0ffee11deadbeef5f0e1d2c3b4a5968";

/// One update that succeeds, and one that is rolled back.
pub(crate) async fn update_and_roll_back(testbed: &Testbed) {
    let good = TestRelease::new("b2b2b2b2", "2.0.0", "onebox:2");
    let bad = TestRelease::new("c3c3c3c3", "3.0.0", "onebox:breaks");
    let mut policy = testbed.quick_policy();
    policy.max_attempts = 1;
    for (release, state) in [(good, "succeeded"), (bad, "rolled-back")] {
        testbed.publish(&release).await.unwrap();
        let desired = testbed.set_desired(Some(&release.commit), policy.clone());
        desired.await.unwrap();
        let ended = testbed.wait_agent(state, UPDATE_LIMIT, |status| {
            status.update.target.as_deref() == Some(&release.commit) && status.update.state.as_str() == state
        });
        ended.await.unwrap();
    }
}
