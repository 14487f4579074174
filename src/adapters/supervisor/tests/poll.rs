//! The poller: when it yields an observation, and how often it asks.

use super::*;
use crate::lifecycle::facts::{AppState, SupervisorErrorKind as Kind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The status with which the fake Supervisor answers 503.
const UNAVAILABLE: &str = "unavailable";

/// Checks that the poller yields nothing for so long.
async fn assert_no_observation(polls: &mut (impl Stream<Item = Event> + Unpin), milliseconds: u64) {
    let next = tokio::time::timeout(Duration::from_millis(milliseconds), polls.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn the_poller_yields_changed_observations_at_the_current_rate() {
    let status = Arc::new(Mutex::new(recorded::UNMANAGED_STATUS));
    let poll_count = Arc::new(AtomicUsize::new(0));
    let (answered_status, count) = (status.clone(), poll_count.clone());
    let fake = Fake::start(move |request| {
        count.fetch_add(
            usize::from(request.path().starts_with("/v2/state/status")),
            Ordering::SeqCst,
        );
        match *answered_status.lock().unwrap() {
            UNAVAILABLE => Reply::Bytes(http("503 Service Unavailable", &[], "not now")),
            status => recorded_reply(request, false, recorded::UNMANAGED_DEVICE, status),
        }
    })
    .await;
    let (rate_sender, rate) = watch::channel(PollRate::Fast);
    let mut polls = pin!(poll(client(fake.address), INTERVALS, rate));
    assert!(next_observation(&mut polls).await.unwrap().containers.is_empty());
    while poll_count.load(Ordering::SeqCst) < 5 {
        assert_no_observation(&mut polls, 50).await;
    }
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    let view = next_observation(&mut polls).await.unwrap();
    assert_eq!(view.app_state, AppState::Applying);
    *status.lock().unwrap() = UNAVAILABLE;
    let error = next_observation(&mut polls).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert_no_observation(&mut polls, 100).await;
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    assert!(next_observation(&mut polls).await.is_ok());

    rate_sender.send_replace(PollRate::Slow);
    let before = poll_count.load(Ordering::SeqCst);
    assert_no_observation(&mut polls, 150).await;
    let after = poll_count.load(Ordering::SeqCst);
    assert!(after - before <= 2, "slow: {} polls", after - before);
    *status.lock().unwrap() = recorded::UNMANAGED_STATUS;
    rate_sender.send_replace(PollRate::Fast);
    let view = next_observation(&mut polls).await.unwrap();
    assert_eq!(view.app_state, AppState::Applied);
    drop(rate_sender);
    *status.lock().unwrap() = recorded::APPLYING_STATUS;
    assert!(
        next_observation(&mut polls).await.is_ok(),
        "it continues without a sender of the rate"
    );
    let key_checks = fake
        .seen()
        .iter()
        .filter(|request| request.path().contains("not-a-key"))
        .count();
    assert_eq!(key_checks, 2, "at the start and after an error");
}

#[tokio::test]
async fn without_a_supervisor_calls_fail_and_the_poller_yields_one_error() {
    let client = SupervisorClient::new(None).unwrap();
    let error = call(client.clone(), SupervisorCall::Reboot).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotConfigured);
    let (_rate_sender, rate) = watch::channel(PollRate::Fast);
    let mut polls = pin!(poll(client, INTERVALS, rate));
    let error = next_observation(&mut polls).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotConfigured);
    assert_no_observation(&mut polls, 100).await;
}

/// The target is a large answer; it is read when it may say something new.
#[tokio::test]
async fn the_engines_images_are_read_again_when_something_was_applied_and_always_at_the_fast_rate() {
    let status = Arc::new(Mutex::new(recorded::UNMANAGED_STATUS));
    let targets = Arc::new(AtomicUsize::new(0));
    let (answered_status, count) = (status.clone(), targets.clone());
    let fake = Fake::start(move |request| {
        count.fetch_add(
            usize::from(request.path().starts_with("/v2/local")),
            Ordering::SeqCst,
        );
        let status = *answered_status.lock().unwrap();
        recorded_reply(request, false, recorded::UNMANAGED_DEVICE, status)
    })
    .await;
    let intervals = PollIntervals {
        slow: Duration::from_millis(20),
        ..INTERVALS
    };
    let (rate_sender, rate) = watch::channel(PollRate::Slow);
    let mut polls = pin!(poll(client(fake.address), intervals, rate));
    next_observation(&mut polls).await.unwrap();
    assert_no_observation(&mut polls, 200).await;
    assert_eq!(targets.load(Ordering::SeqCst), 1, "nothing was applied");
    *status.lock().unwrap() = recorded::MANAGED_STATUS;
    next_observation(&mut polls).await.unwrap();
    assert_eq!(targets.load(Ordering::SeqCst), 2);
    rate_sender.send_replace(PollRate::Fast);
    while targets.load(Ordering::SeqCst) < 5 {
        assert_no_observation(&mut polls, 50).await;
    }
}
