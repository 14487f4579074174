//! Views, inspections and the poller.

use super::super::poll::{PollIntervals, poll};
use super::*;
use crate::lifecycle::facts::{AppState, SupervisorErrorKind as Kind, SupervisorView};
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use futures_util::{Stream, StreamExt as _};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const INTERVALS: PollIntervals = PollIntervals {
    slow: Duration::from_secs(60),
    fast: Duration::from_millis(20),
};

/// The view of a Supervisor with these answers, as the poller's first observation.
async fn view(managed: bool, device: &'static str, status: &'static str) -> SupervisorView {
    let fake = Fake::start(move |seen| real(seen, managed, device, status)).await;
    let (_set, rate) = watch::channel(PollRate::Slow);
    let mut looks = pin!(poll(client(fake.address), INTERVALS, rate));
    observed(&mut looks).await.unwrap()
}

async fn observed(
    looks: &mut (impl Stream<Item = Event> + Unpin),
) -> Result<SupervisorView, SupervisorError> {
    match tokio::time::timeout(Duration::from_secs(5), looks.next()).await {
        Ok(Some(Event::SupervisorObserved(seen))) => *seen,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_view_says_what_the_supervisor_says() {
    let fresh = view(false, recorded::UNMANAGED_DEVICE, recorded::UNMANAGED_STATUS).await;
    assert!(!fresh.managed);
    assert_eq!(fresh.version, "19.0.5");
    assert_eq!((fresh.app_state, fresh.release), (AppState::Applied, None));
    assert_eq!(fresh.os.name.as_deref(), Some("balenaOS"));
    assert_eq!(fresh.os.version.as_deref(), Some("6.5.24"));
    assert_eq!(fresh.ip_addresses, ["198.51.100.2"]);

    let managed = view(true, recorded::MANAGED_DEVICE, recorded::MANAGED_STATUS).await;
    assert!(managed.managed);
    assert_eq!(
        managed.release.as_deref(),
        Some("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2")
    );
    assert_eq!(managed.mac_addresses, ["F2:62:FA:F0:FD:B1", "22:62:67:3E:3F:04"]);
    let [container] = &managed.containers[..] else {
        panic!("{managed:?}")
    };
    assert!(container.is_running());
    assert_eq!((container.service.as_str(), container.image_id), ("main", 602));
    assert_eq!(container.created_at, "2026-11-22T23:02:15.215Z");
    assert!(!managed.update_failed);

    let applying = view(true, recorded::LOCKED_DEVICE, recorded::APPLYING_STATUS).await;
    assert!(applying.update_failed);
    assert_eq!(
        (applying.app_state, applying.download_percent),
        (AppState::Applying, Some(13))
    );
}

#[tokio::test]
async fn a_view_bears_what_is_missing_null_and_new() {
    let status =
        r#"{"appState":"dancing","overallDownloadProgress":250.7,"containers":null,"release":null,"x":[1]}"#;
    let odd = view(
        false,
        r#"{"ip_address":null,"os_version":"balenaOS","update_failed":null}"#,
        status,
    )
    .await;
    assert_eq!(
        (odd.app_state, odd.download_percent),
        (AppState::Other, Some(100))
    );
    assert_eq!(odd.version, "19.0.5", "asked for separately");
    assert_eq!((odd.os.name.as_deref(), odd.os.version), (Some("balenaOS"), None));
    let bare = view(false, "{}", r#"{"containers":[{"imageId":null}]}"#).await;
    assert_eq!(bare.containers[0].image_id, 0);
}

#[tokio::test]
async fn an_inspection_is_what_the_next_target_is_built_on() {
    let answer = |seen: &Seen| {
        real(
            seen,
            false,
            recorded::UNMANAGED_DEVICE,
            recorded::UNMANAGED_STATUS,
        )
    };
    let fake = Fake::start(answer).await;
    let inspection = match call(client(fake.address), SupervisorCall::Inspect).await {
        Ok(SupervisorAnswer::Inspected(inspection)) => *inspection,
        other => panic!("{other:?}"),
    };
    let app = &inspection.apps[&1];
    assert_eq!(
        (app.name.as_str(), app.services.len(), app.volumes.len()),
        ("baserunner", 2, 2)
    );
    let side = &app.services["side"];
    assert_eq!((side.service_id, side.image_id, side.release_id), (2, 21, 2));
    assert!(
        side.image
            .ends_with("795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab")
    );
    assert_eq!(app.volumes["bindvol"]["driverOpts"]["o"], "bind");
    assert_eq!(inspection.config["SUPERVISOR_POLL_INTERVAL"], "900000");
    assert_eq!(inspection.name.as_deref(), Some("lab-device"));
    assert!(
        !format!("{inspection:?}").contains("hunter2"),
        "environments stay with the Supervisor"
    );
    let mut record = TargetRecord::default();
    record.adopt(&inspection, None);
    assert_eq!(record.app_id(), Some(1));
    assert_eq!(
        record.images("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2").unwrap()["side"],
        21
    );
}

#[tokio::test]
async fn a_target_that_cannot_be_named_is_not_inspected() {
    for target in [
        recorded::TARGET.replace(r#""apps": {"1""#, r#""apps": {"base""#),
        r#"{"status":"success"}"#.to_owned(),
        "[]".to_owned(),
    ] {
        let fake = Fake::start(move |seen| match seen.path().starts_with("/v2/local") {
            true => Reply::Bytes(json("200 OK", &target)),
            false => real(
                seen,
                false,
                recorded::UNMANAGED_DEVICE,
                recorded::UNMANAGED_STATUS,
            ),
        })
        .await;
        let error = call(client(fake.address), SupervisorCall::Inspect)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Garbage, "{error:?}");
    }
}

#[tokio::test]
async fn the_poller_speaks_up_only_when_something_is_different() {
    let status = Arc::new(Mutex::new(recorded::UNMANAGED_STATUS));
    let (now, looked) = (status.clone(), Arc::new(AtomicUsize::new(0)));
    let count = looked.clone();
    let fake = Fake::start(move |seen| {
        count.fetch_add(
            usize::from(seen.path().starts_with("/v2/state/status")),
            Ordering::SeqCst,
        );
        match *now.lock().unwrap() {
            "down" => Reply::Bytes(http("503 Service Unavailable", &[], "not now")),
            status => real(seen, false, recorded::UNMANAGED_DEVICE, status),
        }
    })
    .await;
    let (set, rate) = watch::channel(PollRate::Fast);
    let mut looks = pin!(poll(client(fake.address), INTERVALS, rate));
    assert!(observed(&mut looks).await.unwrap().containers.is_empty());
    while looked.load(Ordering::SeqCst) < 5 {
        let silent = tokio::time::timeout(Duration::from_millis(50), looks.next()).await;
        assert!(silent.is_err(), "{silent:?}");
    }
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    assert_eq!(observed(&mut looks).await.unwrap().app_state, AppState::Applying);
    *status.lock().unwrap() = "down";
    let error = observed(&mut looks).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), looks.next())
            .await
            .is_err()
    );
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    assert!(observed(&mut looks).await.is_ok());

    set.send_replace(PollRate::Slow);
    let before = looked.load(Ordering::SeqCst);
    assert!(
        tokio::time::timeout(Duration::from_millis(150), looks.next())
            .await
            .is_err()
    );
    let after = looked.load(Ordering::SeqCst);
    assert!(after - before <= 2, "slow: {} looks", after - before);
    *status.lock().unwrap() = recorded::UNMANAGED_STATUS;
    set.send_replace(PollRate::Fast);
    assert_eq!(observed(&mut looks).await.unwrap().app_state, AppState::Applied);
    drop(set);
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    assert!(
        observed(&mut looks).await.is_ok(),
        "it outlives the other end of the rate"
    );
    let probes = fake
        .seen()
        .iter()
        .filter(|seen| seen.path().contains("not-a-key"))
        .count();
    assert_eq!(probes, 2, "at the start and after an error");
}

#[tokio::test]
async fn watching_does_not_wait_for_a_call() {
    let fake = Fake::start(|_| Reply::Silence).await;
    let (set, mut rate) = watch::channel(PollRate::Slow);
    let (mailbox, effects) = mpsc::channel(8);
    let (events_out, mut events) = mpsc::channel(8);
    let port = SupervisorPort::new(client(fake.address), set);
    let serving = tokio::spawn(port.serve(effects, events_out));
    let reboot = |op| Effect::Supervisor {
        op: OpId(op),
        call: SupervisorCall::Reboot,
    };
    for effect in [
        reboot(1),
        reboot(2),
        Effect::SetPollRate { rate: PollRate::Fast },
        Effect::Stop,
    ] {
        mailbox.send(effect).await.unwrap();
    }
    drop(mailbox);
    rate.changed().await.unwrap();
    assert_eq!(*rate.borrow(), PollRate::Fast);
    assert!(events.try_recv().is_err(), "the first call is still under way");
    for op in [1, 2] {
        let event = events.recv().await.unwrap();
        assert_eq!(event.op(), Some(OpId(op)), "in order");
    }
    serving.await.unwrap();
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn without_a_supervisor_everything_says_so() {
    let none = SupervisorClient::new(None).unwrap();
    let error = call(none.clone(), SupervisorCall::Reboot).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotConfigured);
    let (_set, rate) = watch::channel(PollRate::Fast);
    let mut looks = pin!(poll(none, INTERVALS, rate));
    assert_eq!(observed(&mut looks).await.unwrap_err().kind, Kind::NotConfigured);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), looks.next())
            .await
            .is_err()
    );
}
