//! Views and inspections of recorded answers.

use super::*;
use crate::lifecycle::facts::{AppState, Run, SupervisorErrorKind as Kind};
use crate::lifecycle::supervisor_target::ids::TargetRecord;
use std::pin::pin;

/// The view of a Supervisor with these answers, as the poller's first observation.
async fn view(managed: bool, device: &'static str, status: &'static str) -> SupervisorView {
    let fake = Fake::start(move |request| recorded_reply(request, managed, device, status)).await;
    let (_rate_sender, rate) = watch::channel(PollRate::Slow);
    let mut polls = pin!(poll(client(fake.address), INTERVALS, rate));
    next_observation(&mut polls).await.unwrap()
}

/// The recorded answers of a Supervisor without a backend.
fn unmanaged_reply(request: &Seen) -> Reply {
    recorded_reply(
        request,
        false,
        recorded::UNMANAGED_DEVICE,
        recorded::UNMANAGED_STATUS,
    )
}

#[tokio::test]
async fn a_view_has_the_values_of_the_supervisors_answers() {
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
async fn a_view_tolerates_missing_null_and_unknown_values() {
    let status =
        r#"{"appState":"unknown","overallDownloadProgress":250.7,"containers":null,"release":null,"x":[1]}"#;
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
    assert_eq!(odd.version, "19.0.5", "requested separately");
    assert_eq!((odd.os.name.as_deref(), odd.os.version), (Some("balenaOS"), None));
    let bare = view(false, "{}", r#"{"containers":[{"imageId":null}]}"#).await;
    assert_eq!(bare.containers[0].image_id, 0);
}

#[tokio::test]
async fn an_inspection_contains_target_and_configuration_and_shows_no_environment() {
    let fake = Fake::start(unmanaged_reply).await;
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
        "environments are not shown"
    );
    assert_eq!(inspection.view.present_images, [""; 0]);
    assert_eq!(
        inspection.view.images["side"],
        "sha256:f31210298a17bfc633c8e9f2cbdc281079b11aaac4740a889582215e9faca0bc"
    );
    let mut record = TargetRecord::default();
    record.adopt(&inspection, &Run::default());
    assert_eq!(record.app_id(), Some(1));
    assert_eq!(
        record.images("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2").unwrap()["side"],
        21
    );
}

#[tokio::test]
async fn an_inspection_of_an_invalid_target_is_garbage() {
    for target in [
        recorded::TARGET.replace(r#""apps": {"1""#, r#""apps": {"base""#),
        r#"{"status":"success"}"#.to_owned(),
        "[]".to_owned(),
    ] {
        let fake = Fake::start(move |request| match request.path().starts_with("/v2/local") {
            true => Reply::Bytes(json("200 OK", &target)),
            false => unmanaged_reply(request),
        })
        .await;
        let error = call(client(fake.address), SupervisorCall::Inspect)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Garbage, "{error:?}");
    }
}

#[tokio::test]
async fn an_inspection_lists_the_images_that_are_there_and_not_those_being_fetched() {
    let fake = Fake::start(|request| {
        recorded_reply(request, false, recorded::LOCKED_DEVICE, recorded::APPLYING_STATUS)
    })
    .await;
    let inspection = match call(client(fake.address), SupervisorCall::Inspect).await {
        Ok(SupervisorAnswer::Inspected(inspection)) => *inspection,
        other => panic!("{other:?}"),
    };
    let [present] = &inspection.view.present_images[..] else {
        panic!("{:?}", inspection.view.present_images)
    };
    assert!(present.contains("ffff00000001@sha256:795a739f"), "{present}");
}

/// A target with these `config.image` of its services.
fn target_with(services: &[(&str, &str)]) -> String {
    let service = |(name, image): &(&str, &str)| {
        format!(r#"{{"serviceName":"{name}","config":{{"image":"{image}"}}}}"#)
    };
    let services: Vec<_> = services.iter().map(service).collect();
    let services = services.join(",");
    format!(
        r#"{{"state":{{"local":{{"apps":{{"1":{{"services":[{services}]}},"2":{{"services":null}}}}}}}}}}"#
    )
}

#[tokio::test]
async fn a_view_has_the_engines_images_but_no_references_and_none_of_two_of_a_name() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let target = target_with(&[
        ("onebox", &digest),
        ("fetched-later", "registry.example/app:1"),
        ("twice", &digest),
        ("twice", &digest),
    ]);
    let fake = Fake::start(move |request| match request.path().starts_with("/v2/local") {
        true => Reply::Bytes(json("200 OK", &target)),
        false => unmanaged_reply(request),
    })
    .await;
    let (_rate_sender, rate) = watch::channel(PollRate::Slow);
    let mut polls = pin!(poll(client(fake.address), INTERVALS, rate));
    let view = next_observation(&mut polls).await.unwrap();
    let images: Vec<_> = view.images.iter().collect();
    assert_eq!(images, [(&"onebox".to_owned(), &digest)]);
}

#[tokio::test]
async fn a_target_that_cannot_be_read_leaves_the_images_unknown_and_the_supervisor_available() {
    for target in [
        json("200 OK", "null"),
        json("200 OK", r#"{"state":null}"#),
        http("500 Internal Server Error", &[], ""),
    ] {
        let fake = Fake::start(move |request| match request.path().starts_with("/v2/local") {
            true => Reply::Bytes(target.clone()),
            false => unmanaged_reply(request),
        })
        .await;
        let (_rate_sender, rate) = watch::channel(PollRate::Slow);
        let mut polls = pin!(poll(client(fake.address), INTERVALS, rate));
        let view = next_observation(&mut polls).await.unwrap();
        assert!(view.images.is_empty());
    }
}
