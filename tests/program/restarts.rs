//! The agent or the device starts again and again.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, is_blocked_by, policy};
use crate::host::WITH_BOOT_ID;
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::{Result, ensure, run_cases, wait_until};

/// Kills the agent at the same fail point in each of its runs, as long as there is a file that names it.
const AT_EACH_START: &str = "if [ $# -eq 0 ] && [ -e $(dirname $AGENT)/fail_point ]; then BASEOS_FAILPOINT=$(cat $(dirname $AGENT)/fail_point); \
     export BASEOS_FAILPOINT; fi";

/// The agent ends at this fail point in each of its runs. It stops trying for a while, stays in touch with Cloudly, and
/// takes up what is desired next.
async fn ends_again_and_again(fail_point: &str) -> Result<()> {
    let script = WrapperScript::with_every_start(AT_EACH_START);
    let fixture = Fixture::start(script.options()).await?;
    let file = script.program().with_file_name("fail_point");
    std::fs::write(&file, fail_point)?;
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(2).await?;
    fixture.desire(V2).await?;
    let held_back = fixture.wait_node("the update waits", LIMIT, |node| {
        is_blocked_by(node, BlockerKind::RetryBackoff)
    });
    let update = held_back.await?.status.unwrap().update;
    let reason = update.blocked_by[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("ended 3 times"), "{reason}");
    assert!(update.blocked_by[0].expires_at.is_some(), "{update:?}");
    let starts = fixture.device.starts("baserunner");
    let revision = fixture.set_desired(Some(V1), policy()).await?;
    fixture
        .wait_node("it hears Cloudly", LIMIT, |node| {
            node.observed_revision == revision
        })
        .await?;
    assert_eq!(fixture.device.starts("baserunner"), starts, "it ended once more");
    assert_eq!(fixture.count_posts(V2), 0);
    std::fs::remove_file(&file)?;
    fixture.desire(V3).await?;
    fixture.wait_update_succeeded(V3).await?;
    fixture.check_consistency().await
}

#[tokio::test]
async fn an_agent_that_ends_in_the_same_step_each_time_waits_within_reach() {
    let cases = [
        "effect.before.Inspect",
        "effect.after.Inspect",
        "effect.before.ApplyTarget",
    ];
    run_cases(cases.map(|fail_point| (fail_point, ends_again_and_again(fail_point))))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_release_that_reboots_the_device_each_time_is_rolled_back_and_not_tried_again() {
    let script = WrapperScript::with_every_start(WITH_BOOT_ID);
    let fixture = Fixture::start(script.options()).await.unwrap();
    let policy = Policy {
        health_seconds: 30,
        ..policy()
    };
    fixture.set_desired(Some(V2), policy.clone()).await.unwrap();
    let mut reboots = 0;
    loop {
        let status = fixture
            .wait_agent("it runs, or is left", LIMIT, |status| {
                let update = &status.update;
                let is_left = matches!(
                    update.state,
                    UpdateState::RollbackNeeded | UpdateState::RolledBack
                );
                let runs = update.state == UpdateState::Verifying && fixture.device.runs(V2);
                update.target.as_deref() == Some(V2) && (is_left || runs)
            })
            .await
            .unwrap();
        if status.update.state != UpdateState::Verifying {
            break;
        }
        assert!(reboots < 10, "{}", fixture.diagnostics());
        reboots += 1;
        let starts = fixture.device.starts("baserunner");
        fixture.device.power_cycle();
        fixture.wait_agent_started(starts + 1).await.unwrap();
    }
    assert!(reboots > 1, "one reboot is no loop");
    let rolled_back = fixture.wait_update_ended(UpdateState::RolledBack, V2, V1);
    let error = rolled_back.await.unwrap().status.unwrap().update.error.unwrap();
    assert!(
        error
            .evidence
            .iter()
            .any(|line| line.contains("the agent started")),
        "{error:?}"
    );

    // Neither another boot nor a new revision makes it try again.
    let starts = fixture.device.starts("baserunner");
    fixture.device.power_cycle();
    fixture.wait_agent_started(starts + 1).await.unwrap();
    let revision = fixture.set_desired(Some(V2), policy).await.unwrap();
    let refused = fixture.wait_node("it is known to be bad still", LIMIT, |node| {
        let status = node.status.as_ref();
        node.observed_revision == revision
            && status.is_some_and(|status| status.update.state == UpdateState::RolledBack)
    });
    refused.await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    wait_until("the proven release runs", LIMIT, async || {
        ensure(fixture.device.runs(V1), || fixture.device.status().to_text())
    })
    .await
    .unwrap();
    fixture.assert_consistent().await;
}
