//! Why the Supervisor does not get on: from its own log, on the box and in Cloudly, while it lasts; and that none of it
//! makes a release bad.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, has_issue, is_blocked_by, options, policy};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{Blocker, BlockerKind, UpdateStatus};
use baseos_simulator::device::{Device, Fault, FaultKind};
use baseos_simulator::supervisor::{Behaviour, Image, Pull};

const LOG_PATH: &str = "/v2/local/logs";

fn set_registry_down(device: &Device, down: bool) {
    device.with_model(|model, _| model.registry.down = down);
}

fn set_image(device: &Device, reference: &str, image: Image) {
    device.with_model(|model, _| model.registry.images.insert(reference.to_owned(), image));
}

/// Waits until Cloudly shows an update that is blocked by this, and nothing else.
async fn wait_blocked(fixture: &Fixture, kind: BlockerKind) -> Blocker {
    let expected = format!("the update is blocked by {}", kind.as_str());
    let node = fixture.wait_node(&expected, LIMIT, |node| is_blocked_by(node, kind));
    let status = node.await.unwrap().status.unwrap();
    assert_eq!(status.update.blocked_by.len(), 1, "{:?}", status.update);
    status.update.blocked_by[0].clone()
}

async fn update(fixture: &Fixture) -> UpdateStatus {
    fixture.node().await.unwrap().status.unwrap().update
}

#[tokio::test]
async fn a_registry_that_is_away_is_reported_and_does_not_make_the_release_bad() {
    let fixture = Fixture::start(options()).await.unwrap();
    set_registry_down(&fixture.device, true);
    // It fails for longer than the policy allows without progress.
    let policy = Policy {
        apply_timeout_seconds: 2,
        ..policy()
    };
    fixture.set_desired(Some(V2), policy).await.unwrap();
    let blocker = wait_blocked(&fixture, BlockerKind::PullFailing).await;
    assert_eq!(blocker.holder.as_deref(), Some("onebox:2"));
    let reason = blocker.reason.unwrap();
    assert!(reason.starts_with("the registry does not answer"), "{reason}");
    let overdue = fixture.wait_node("nothing got on for too long", LIMIT, |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.update.error.is_some())
    });
    let shown = overdue.await.unwrap().status.unwrap().update;
    assert_eq!(shown.error.unwrap().code, "applyTimeout");
    assert_eq!((shown.state, shown.attempt), (UpdateState::Applying, Some(1)));
    let local = fixture.agent.status().await.unwrap();
    assert!(
        local.summary.contains("held up: pullFailing, onebox:2"),
        "{}",
        local.summary
    );

    set_registry_down(&fixture.device, false);
    let node = fixture.wait_update_succeeded(V2).await.unwrap();
    let update = node.status.unwrap().update;
    assert_eq!((update.error, update.blocked_by), (None, Vec::new()));
    assert_eq!(fixture.count_posts(V2), 1);
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_missing_image_fails_at_once_and_goes_on_when_it_is_pushed() {
    let fixture = Fixture::start(options()).await.unwrap();
    set_image(&fixture.device, "onebox:2", Image::missing());
    fixture.desire(V2).await.unwrap();
    let failed = fixture.wait_update_ended(UpdateState::Failed, V2, V1);
    let failed = failed.await.unwrap();
    assert!(
        !has_issue(&failed, "foreignTarget"),
        "what runs was handed over before"
    );
    let error = failed.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "imageNotFound");
    assert!(error.message.contains("onebox:2"), "{error:?}");
    // A new process does not try it anew by itself either.
    fixture.device.kill("baserunner");
    fixture.wait_restart_count(1).await.unwrap();
    assert_eq!(update(&fixture).await.state, UpdateState::Failed);

    set_image(&fixture.device, "onebox:2", Image::new(Behaviour::Runs, 200));
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_full_disk_and_another_services_lock_are_named_while_they_last() {
    let fixture = Fixture::start(options()).await.unwrap();
    let breaks = Pull::BreaksAt {
        millis: 200,
        percent: 50,
    };
    let full = Image {
        pull: breaks,
        run: Behaviour::Runs,
        content: None,
    };
    set_image(&fixture.device, "onebox:2", full);
    fixture.device.take_lock(1, "onebox").unwrap();
    fixture.desire(V2).await.unwrap();
    let blocker = wait_blocked(&fixture, BlockerKind::DiskFull).await;
    assert_eq!(blocker.holder.as_deref(), Some("onebox:2"));
    set_image(&fixture.device, "onebox:2", Image::new(Behaviour::Runs, 200));
    let blocker = wait_blocked(&fixture, BlockerKind::LocalLock).await;
    assert_eq!(blocker.holder.as_deref(), Some("onebox"));
    assert_eq!(update(&fixture).await.state, UpdateState::Applying);
    fixture.device.release_lock(1, "onebox");
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_cause_is_guessed_from_the_state_while_the_log_cannot_be_read() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture
        .device
        .add_fault(Fault::on(LOG_PATH, FaultKind::Status { code: 503 }));
    fixture.device.close_log_streams();
    set_registry_down(&fixture.device, true);
    fixture.desire(V2).await.unwrap();
    let blocker = wait_blocked(&fixture, BlockerKind::PullFailing).await;
    let reason = blocker.reason.unwrap();
    assert!(
        reason.starts_with("a guess from the Supervisor's state"),
        "{reason}"
    );
    fixture.device.clear_faults();
    let known = fixture.wait_node("the log says more", LIMIT, |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| {
            let mut blockers = status.update.blocked_by.iter();
            blockers.any(|blocker| blocker.holder.as_deref() == Some("onebox:2"))
        })
    });
    known.await.unwrap();
    set_registry_down(&fixture.device, false);
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}

/// Each listener costs the Supervisor for ever.
#[tokio::test]
async fn one_log_stream_is_held_over_all_updates_whatever_containers_write() {
    let fixture = Fixture::start(options()).await.unwrap();
    for commit in [V2, V3, V1] {
        for _ in 0..2000 {
            fixture
                .device
                .write_log_line("onebox", "a line of a container, \"isSystem\":true");
        }
        fixture.desire(commit).await.unwrap();
        fixture.wait_update_succeeded(commit).await.unwrap();
    }
    let listeners = fixture.device.log_listeners();
    assert_eq!((listeners.opened, listeners.open, listeners.abandoned), (1, 1, 0));
    fixture.device.restart_supervisor();
    fixture.wait_supervisor_available(true).await.unwrap();
    let opened = fixture.wait_agent("the log is read again", LIMIT, |_| {
        fixture.device.log_listeners().opened == 2
    });
    opened.await.unwrap();
    assert_eq!(fixture.device.log_listeners().abandoned, 0);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_during_a_pull_changes_nothing_and_the_pull_goes_on_with_room() {
    let fixture = Fixture::start(options()).await.unwrap();
    let full = Image {
        pull: Pull::BreaksAt {
            millis: 500,
            percent: 60,
        },
        run: Behaviour::Runs,
        content: None,
    };
    set_image(&fixture.device, "onebox:2", full);
    // It fails for longer than the policy allows without progress.
    let policy = Policy {
        apply_timeout_seconds: 2,
        ..policy()
    };
    fixture.set_desired(Some(V2), policy).await.unwrap();
    let blocker = wait_blocked(&fixture, BlockerKind::DiskFull).await;
    assert_eq!(blocker.holder.as_deref(), Some("onebox:2"));
    let overdue = fixture.wait_node("nothing got on for too long", LIMIT, |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.update.error.is_some())
    });
    let status = overdue.await.unwrap().status.unwrap();
    assert_eq!(status.running(), Some(V1));
    let services = &status.release.as_ref().unwrap().services;
    assert_eq!(services["onebox"].status, "Running");
    assert_eq!(status.update.state, UpdateState::Applying);
    // A restart in the middle of it changes nothing either.
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(2).await.unwrap();
    wait_blocked(&fixture, BlockerKind::DiskFull).await;

    set_image(&fixture.device, "onebox:2", Image::new(Behaviour::Runs, 200));
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(fixture.count_posts(V2), 1);
    assert_eq!(fixture.reported_ends(V2).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}
