//! The simulated Supervisor against the recordings of the real one (balena-supervisor 19.0.5).
//!
//! Each scenario brings the model into the situation of a recording and plays the recorded requests at the recorded
//! times, in virtual time. Compared are status, content type, and the body: members, their order, types, and all values
//! except those that differ between machines. Recorded *polls* are compared as sequences of states.

use crate::recording::{Coverage, posted_body};
use crate::virtual_supervisor::{Intervention, VirtualSupervisor};
use baseos_simulator::supervisor::Image;

const R1: &str = "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000001@sha256:795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab";
const R2: &str = "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000002@sha256:a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea";
const NOT_IN_REGISTRY: &str =
    "127.0.0.1:5000/v2/nonexistent@sha256:abababababababababababababababababababababababababababababababab";

#[test]
fn answers_agree_with_the_recordings() {
    let mut coverage = Coverage::default();
    unmanaged(&mut coverage);
    refused_bodies(&mut coverage);
    failures(&mut coverage);
    managed(&mut coverage);
    coverage.assert_at_least(176);
}

fn unmanaged(coverage: &mut Coverage) {
    VirtualSupervisor::unmanaged().play("u01-api-nokey", &[], coverage);

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.play("u02-target", &[], coverage);
    supervisor.wait(20);
    supervisor.play("u02-minimal", &[], coverage);

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.post(&posted_body("u02-target", 0)).wait(20);
    supervisor.play("u03-target", &[], coverage);

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.post(&posted_body("u02-target", 0)).wait(20);
    supervisor.play(
        "u04-get-target",
        &[(1, Intervention::EarlierPost(posted_body("u05-features", 1)))],
        coverage,
    );
    supervisor.wait(20);
    supervisor.play("u04-post-back", &[], coverage);
    supervisor.play("u04-removal", &[], coverage);
    supervisor.wait(20);
    supervisor.play("u04-volume-change", &[], coverage);
    supervisor.wait(10);
    assert_eq!(
        supervisor.wiped_volumes(),
        ["1_data"],
        "a changed definition wipes the volume"
    );
    supervisor.play("u05-two-apps", &[], coverage);
    supervisor.wait(5);
    assert_eq!(
        supervisor.services(),
        ["main"],
        "an app that is left out is removed"
    );
}

fn refused_bodies(coverage: &mut Coverage) {
    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.post(&posted_body("u03-target", 0)).wait(20);
    // The recording continues after the Supervisor was started again.
    let restarts = [
        (18, Intervention::Restart),
        (20, Intervention::Restart),
        (24, Intervention::AssertNoApps),
        (26, Intervention::AssertNoApps),
    ];
    supervisor.play("u05-body-matrix", &restarts, coverage);
    supervisor.wait(5);
    assert!(supervisor.services().is_empty(), "an empty body removes all apps");
}

fn failures(coverage: &mut Coverage) {
    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .set_image(NOT_IN_REGISTRY, Image::missing())
        .post(&posted_body("u02-target", 0))
        .wait(20);
    supervisor.play("u05-badimage", &[], coverage);

    // A start that fails: the container stays `Installed`, the apply is tried again, and what depends on it waits.
    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .post(&posted_body("u02-target", 0))
        .wait(20)
        .break_image(R2);
    supervisor.play("u05-features", &[], coverage);

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .post(&posted_body("u02-target", 0))
        .wait(20)
        .post(&posted_body("u03-target", 0))
        .wait(20);
    supervisor.remove_image(R1).set_registry_down(true);
    supervisor.play("u05-regdown", &[], coverage);
    supervisor.set_registry_down(false).wait(30);
    assert!(
        supervisor.has_applied("a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"),
        "the release is applied when the registry is back"
    );

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .post(&posted_body("u02-target", 0))
        .wait(20)
        .lock(1, "main");
    supervisor.play("u05-locked", &[], coverage);
    supervisor.wait(10);
    assert!(!supervisor.has_applied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"));
    supervisor.unlock(1, "main").wait(10);
    assert!(
        supervisor.has_applied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"),
        "applied at the next retry after the lock is gone"
    );

    // The lock was taken again before each of the three parts.
    supervisor.lock(1, "main");
    let locks = [
        (1, Intervention::Lock),
        (6, Intervention::AssertApplied("b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2")),
        (6, Intervention::Lock),
    ];
    supervisor.play("u05-force", &locks, coverage);
    supervisor.wait(3);
    assert!(
        supervisor.has_applied("a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"),
        "SUPERVISOR_OVERRIDE_LOCK works at the next retry"
    );
}

fn managed(coverage: &mut Coverage) {
    VirtualSupervisor::managed().play("local-api-idle", &[], coverage);
    VirtualSupervisor::managed().play("local-api-actions", &[], coverage);

    let mut supervisor = VirtualSupervisor::slow_managed("b2");
    supervisor.lock(4242, "main");
    // A new release reached the backend while the lock was held: 23:05:12, before the first poll that shows it.
    supervisor.play(
        "local-api-locked",
        &[(14, Intervention::BackendRelease("c3"))],
        coverage,
    );
    assert!(
        supervisor.has_applied("c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"),
        "force with cancel goes through"
    );

    VirtualSupervisor::managed().play("local-api-reboot", &[], coverage);

    let mut supervisor = VirtualSupervisor::managed();
    supervisor
        .set_registry_down(true)
        .set_backend_release("c3")
        .update()
        .wait(8);
    supervisor.play("pull-fail-local", &[(3, Intervention::RegistryUp)], coverage);
    assert!(supervisor.has_applied("c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"));

    let mut supervisor = VirtualSupervisor::slow_managed("c3");
    supervisor
        .lock(4242, "main")
        .set_backend_release_with_lock_override("a1")
        .update();
    supervisor.wait_millis(4300);
    supervisor.play("local-api-override-lock", &[], coverage);
}

#[test]
fn polled_states_have_the_recorded_order() {
    let mut coverage = Coverage::default();

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.play_polls(
        "u02-poll-first-install",
        &[(950, Intervention::Post(posted_body("u02-target", 0)))],
        &mut coverage,
    );
    supervisor.play_polls(
        "u03-poll-update-r1-r2",
        &[(1000, Intervention::Post(posted_body("u03-target", 0)))],
        &mut coverage,
    );

    // A release with two services ran before: its image rows are in the recordings.
    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor.set_image(NOT_IN_REGISTRY, Image::missing());
    supervisor
        .post(&posted_body("u05-features", 1))
        .wait(20)
        .post(&posted_body("u02-target", 0))
        .wait(20);
    supervisor.play_polls(
        "u05-poll-badimage",
        &[(600, Intervention::Post(posted_body("u05-badimage", 0)))],
        &mut coverage,
    );
    supervisor.play_polls(
        "u05-poll-good-after-bad",
        &[(700, Intervention::Post(posted_body("u05-badimage", 1)))],
        &mut coverage,
    );

    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .post(&posted_body("u05-features", 1))
        .wait(20)
        .post(&posted_body("u02-target", 0))
        .wait(20)
        .lock(1, "main");
    let script = [
        (500, Intervention::Post(posted_body("u05-locked", 0))),
        (9000, Intervention::Unlock),
    ];
    supervisor.play_polls("u05-poll-locked", &script, &mut coverage);

    coverage.assert_at_least(71);
}
