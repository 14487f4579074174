//! The simulated Supervisor against the recordings of the real one (balena-supervisor 19.0.5).
//!
//! Each scenario brings the model into the situation of a recording and plays the recorded requests at the recorded
//! times, in virtual time. Compared are status, content type, and the whole body: members, their order, types, and
//! all values but those that differ from machine to machine (`VOLATILE`). Recorded *polls* are compared as sequences
//! of states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod player;

use baseos_simulator::json::Json;
use player::{At, Lab, Tally};

const R1: &str = "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000001@sha256:795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab";
const R2: &str = "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000002@sha256:a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea";
const NONE_THERE: &str =
    "127.0.0.1:5000/v2/nonexistent@sha256:abababababababababababababababababababababababababababababababab";

/// The body of the n-th post of a recording.
fn posted(file: &str, nth: usize) -> Json {
    player::lines(file)
        .into_iter()
        .filter(|line| line.get("method").and_then(Json::as_str) == Some("POST"))
        .nth(nth)
        .and_then(|line| line.get("body").cloned())
        .unwrap()
}

#[test]
fn answers_agree_with_the_recordings() {
    let mut tally = Tally::default();
    unmanaged(&mut tally);
    refused_bodies(&mut tally);
    trouble(&mut tally);
    managed(&mut tally);
    tally.report();
    assert!(
        tally.requests() >= 176,
        "only {} requests were compared",
        tally.requests()
    );
}

fn unmanaged(tally: &mut Tally) {
    Lab::unmanaged().play("u01-api-nokey", &[], tally);

    let mut lab = Lab::unmanaged();
    lab.play("u02-target", &[], tally);
    lab.wait(20);
    lab.play("u02-minimal", &[], tally);

    let mut lab = Lab::unmanaged();
    lab.post(&posted("u02-target", 0)).wait(20);
    lab.play("u03-target", &[], tally);

    let mut lab = Lab::unmanaged();
    lab.post(&posted("u02-target", 0)).wait(20);
    lab.play(
        "u04-get-target",
        &[(1, At::Earlier(posted("u05-features", 1)))],
        tally,
    );
    lab.wait(20);
    lab.play("u04-post-back", &[], tally);
    lab.play("u04-removal", &[], tally);
    lab.wait(20);
    lab.play("u04-volume-change", &[], tally);
    lab.wait(10);
    assert_eq!(lab.wiped(), ["1_data"], "a changed definition wipes the volume");
    lab.play("u05-two-apps", &[], tally);
    lab.wait(5);
    assert_eq!(lab.services(), ["main"], "an app that is left out is removed");
}

fn refused_bodies(tally: &mut Tally) {
    let mut lab = Lab::unmanaged();
    lab.post(&posted("u03-target", 0)).wait(20);
    // The recording went on after the Supervisor had been started again by hand.
    let restarts = [
        (18, At::Restart),
        (20, At::Restart),
        (24, At::NoApps),
        (26, At::NoApps),
    ];
    lab.play("u05-body-matrix", &restarts, tally);
    lab.wait(5);
    assert!(lab.services().is_empty(), "an empty body removes all apps");
}

fn trouble(tally: &mut Tally) {
    let mut lab = Lab::unmanaged();
    lab.missing(NONE_THERE).post(&posted("u02-target", 0)).wait(20);
    lab.play("u05-badimage", &[], tally);

    // A start that fails: the container stays `Installed`, the apply goes on trying, what depends on it waits.
    let mut lab = Lab::unmanaged();
    lab.post(&posted("u02-target", 0)).wait(20).does_not_start(R2);
    lab.play("u05-features", &[], tally);

    let mut lab = Lab::unmanaged();
    lab.post(&posted("u02-target", 0))
        .wait(20)
        .post(&posted("u03-target", 0))
        .wait(20);
    lab.rmi(R1).registry_down(true);
    lab.play("u05-regdown", &[], tally);
    lab.registry_down(false).wait(30);
    assert!(
        lab.applied("a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"),
        "it recovers when the registry is back"
    );

    let mut lab = Lab::unmanaged();
    lab.post(&posted("u02-target", 0)).wait(20).lock(1, "main");
    lab.play("u05-locked", &[], tally);
    lab.wait(10);
    assert!(!lab.applied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"));
    lab.unlock(1, "main").wait(10);
    assert!(
        lab.applied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"),
        "done at the next retry after the lock is gone"
    );

    // The lock was taken again before each of the three parts.
    lab.lock(1, "main");
    let locks = [
        (1, At::Lock),
        (6, At::Applied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2")),
        (6, At::Lock),
    ];
    lab.play("u05-force", &locks, tally);
    lab.wait(3);
    assert!(
        lab.applied("a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"),
        "SUPERVISOR_OVERRIDE_LOCK works at the next retry"
    );
}

fn managed(tally: &mut Tally) {
    Lab::managed().play("local-api-idle", &[], tally);
    Lab::managed().play("local-api-actions", &[], tally);

    let mut lab = Lab::slow_managed("b2");
    lab.lock(4242, "main");
    // A new release reached the backend while the lock was held: 23:05:12, before the first poll that shows it.
    lab.play("local-api-locked", &[(14, At::Backend("c3"))], tally);
    assert!(
        lab.applied("c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"),
        "force with cancel goes through"
    );

    Lab::managed().play("local-api-reboot", &[], tally);

    let mut lab = Lab::managed();
    lab.registry_down(true).backend("c3").update().wait(8);
    lab.play("pull-fail-local", &[(3, At::RegistryUp)], tally);
    assert!(lab.applied("c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"));

    let mut lab = Lab::slow_managed("c3");
    lab.lock(4242, "main").backend_with_override("a1").update();
    lab.wait_millis(4300);
    lab.play("local-api-override-lock", &[], tally);
}

#[test]
fn polled_states_come_in_the_recorded_order() {
    let mut tally = Tally::default();

    let mut lab = Lab::unmanaged();
    lab.poll(
        "u02-poll-first-install",
        &[(950, At::Post(posted("u02-target", 0)))],
        &mut tally,
    );
    lab.poll(
        "u03-poll-update-r1-r2",
        &[(1000, At::Post(posted("u03-target", 0)))],
        &mut tally,
    );

    // A release with two services was there before: its image rows are the ghosts of the recordings.
    let mut lab = Lab::unmanaged();
    lab.missing(NONE_THERE);
    lab.post(&posted("u05-features", 1))
        .wait(20)
        .post(&posted("u02-target", 0))
        .wait(20);
    lab.poll(
        "u05-poll-badimage",
        &[(600, At::Post(posted("u05-badimage", 0)))],
        &mut tally,
    );
    lab.poll(
        "u05-poll-good-after-bad",
        &[(700, At::Post(posted("u05-badimage", 1)))],
        &mut tally,
    );

    let mut lab = Lab::unmanaged();
    lab.post(&posted("u05-features", 1))
        .wait(20)
        .post(&posted("u02-target", 0))
        .wait(20)
        .lock(1, "main");
    let script = [(500, At::Post(posted("u05-locked", 0))), (9000, At::Unlock)];
    lab.poll("u05-poll-locked", &script, &mut tally);

    tally.report();
    assert!(
        tally.requests() >= 71,
        "only {} polls were compared",
        tally.requests()
    );
}
