//! Neighbours that are down or wrong: Cloudly, the Supervisor, or a part of either.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, has_issue, options, policy, release, with_slow_v2};
use baseos_interfaces::local::LockScope;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{ensure, wait_until};

#[tokio::test]
async fn an_outage_of_cloudly_while_idle_is_shown_and_changes_nothing() {
    let mut fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    fixture.cloudly.kill().await;
    let failing = fixture.wait_agent("two failed calls", LIMIT, |status| status.cloudly.failures >= 2);
    let status = failing.await.unwrap();
    assert!(!status.cloudly.connected && status.cloudly.error.is_some());
    assert!(status.summary.contains("Cloudly"), "{}", status.summary);
    assert!(fixture.device.runs(V1));
    fixture.cloudly.start_again().await.unwrap();
    fixture.wait_connected(true).await.unwrap();
    assert_eq!(fixture.node().await.unwrap().id, node.id);
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn an_outage_of_cloudly_while_applying_does_not_hold_the_update_up() {
    let mut fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture
        .wait_update_state(UpdateState::Applying, V2)
        .await
        .unwrap();
    fixture.cloudly.kill().await;
    let succeeded = fixture.wait_update_state(UpdateState::Succeeded, V2);
    succeeded.await.unwrap();
    fixture.cloudly.start_again().await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_start_without_a_network_serves_the_local_api_and_goes_on_with_what_is_desired() {
    let mut fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    let revision = fixture.desire(V2).await.unwrap();
    fixture.wait_update_state(UpdateState::Waiting, V2).await.unwrap();
    fixture.cloudly.kill().await;
    fixture.device.kill("baserunner");
    let failing = fixture.wait_agent("a start without Cloudly", LIMIT, |status| {
        fixture.device.starts("baserunner") == 2 && status.cloudly.failures >= 1
    });
    let status = failing.await.unwrap();
    assert_eq!(status.node_id.as_deref(), Some(node.id.as_str()));
    assert_eq!(status.observed_revision, revision);
    assert_eq!(status.update.target.as_deref(), Some(V2));
    fixture.agent.unlock("backup").await.unwrap();
    fixture
        .wait_update_state(UpdateState::Succeeded, V2)
        .await
        .unwrap();
    fixture.cloudly.start_again().await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

/// The Supervisor fails before a release becomes the desired one, and works again later.
async fn update_after_outage(begin_outage: impl FnOnce(&Fixture)) {
    let fixture = Fixture::start(options()).await.unwrap();
    begin_outage(&fixture);
    let status = fixture.wait_supervisor_available(false).await.unwrap();
    assert!(status.supervisor.error.is_some());
    let check = fixture.failed_check("supervisor").await;
    assert!(check.fix.is_some(), "{check:?}");
    let reported = fixture.wait_node("the outage is reported", LIMIT, |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.supervisor.available == Some(false))
    });
    reported.await.unwrap();
    fixture.desire(V2).await.unwrap();
    let blocked = fixture.wait_agent("the update waits for the Supervisor", LIMIT, |status| {
        let mut blockers = status.update.blocked_by.iter();
        blockers.any(|blocker| blocker.kind == BlockerKind::SupervisorUnavailable)
    });
    blocked.await.unwrap();
    assert_eq!(fixture.count_posts(V2), 0);
    fixture.device.clear_faults();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

async fn update_after_faults(kind: FaultKind) {
    update_after_outage(|fixture| fixture.device.add_fault(Fault::on("*", kind))).await;
}

#[tokio::test]
async fn an_update_waits_while_the_supervisor_refuses_connections() {
    update_after_outage(|fixture| fixture.device.set_port_closed(true)).await;
}

#[tokio::test]
async fn an_update_waits_while_the_supervisor_does_not_answer() {
    update_after_faults(FaultKind::Hang).await;
}

#[tokio::test]
async fn an_update_waits_while_the_supervisor_answers_503() {
    update_after_faults(FaultKind::Status { code: 503 }).await;
}

#[tokio::test]
async fn an_update_waits_while_the_supervisor_refuses_the_key() {
    update_after_faults(FaultKind::Unauthorized).await;
}

#[tokio::test]
async fn an_update_goes_on_after_a_crash_of_the_supervisor() {
    let fixture = Fixture::start(with_slow_v2(options())).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture
        .wait_update_state(UpdateState::Applying, V2)
        .await
        .unwrap();
    // Otherwise it would answer again before the agent's next look.
    fixture.device.set_port_closed(true);
    fixture.device.crash_supervisor();
    fixture.wait_supervisor_available(false).await.unwrap();
    fixture.device.set_port_closed(false);
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_target_whose_answer_is_lost_is_not_posted_twice() {
    let fixture = Fixture::start(options()).await.unwrap();
    let mut fault = Fault::on("/v2/local/target-state", FaultKind::DroppedAfter).times(1);
    fault.method = Some("POST".to_owned());
    fixture.device.add_fault(fault);
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

/// A device that runs `V2`.
async fn running_v2() -> Fixture {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture
}

fn post_v3_as_another_program(fixture: &Fixture) {
    let target = release(V3).local_target("simulated-device");
    fixture.device.post_target(&target);
}

#[tokio::test]
async fn a_foreign_target_is_reported_when_nothing_is_desired() {
    let fixture = running_v2().await;
    let revision = fixture.set_desired(None, policy()).await.unwrap();
    let nothing_desired = fixture.wait_agent("nothing is desired", LIMIT, |status| {
        status.observed_revision == revision
    });
    nothing_desired.await.unwrap();
    post_v3_as_another_program(&fixture);
    let reported = fixture.wait_node("the target is reported", LIMIT, |node| {
        has_issue(node, "foreignTarget")
    });
    let node = reported.await.unwrap();
    assert_eq!(node.status.unwrap().running(), Some(V3));
    assert_eq!(fixture.count_posts(V2), 1, "the foreign target was replaced");
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_foreign_target_is_reported_once_and_replaced_by_the_desired_release() {
    let fixture = running_v2().await;
    post_v3_as_another_program(&fixture);
    let replaced = fixture.wait_agent("it is replaced", LIMIT, |_| fixture.count_posts(V2) == 2);
    replaced.await.unwrap();
    fixture.wait_runs(V2, LIMIT).await.unwrap();
    let ends = wait_until("Cloudly has two ends", LIMIT, async || {
        let ends = fixture
            .reported_ends(V2)
            .await
            .map_err(|error| error.to_string())?;
        ensure(ends.len() == 2, || format!("{ends:?}"))?;
        Ok(ends)
    });
    assert_eq!(ends.await.unwrap(), ["succeeded", "succeeded"]);
    let node = fixture.node().await.unwrap();
    let mut events = fixture.cloudly.events(&node.id).await.unwrap();
    events.retain(|record| record.event.kind == "foreignTarget");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].event.data["running"], V3);
    fixture.assert_consistent().await;
}
