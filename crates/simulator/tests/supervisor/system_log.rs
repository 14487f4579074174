//! The system log against the recorded one: wording, order, and what comes how often.

use crate::recording::lines;
use crate::virtual_supervisor::VirtualSupervisor;
use baseos_simulator::harness::TestRelease;
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Behaviour, Effect, Image, Pull};

const RUNNING: &str = "a1a1a1a1";
const NEXT: &str = "b2b2b2b2";

/// A message without the ids of images, which differ between machines, and whether it has `isStdErr`.
type Line = (String, bool);

/// The Supervisor's own lines of a recording, without the first one, which says that the stream is open.
fn recorded(file: &str) -> Vec<Line> {
    lines(file)
        .iter()
        .filter(|line| line.get("isSystem").is_some_and(Json::is_true))
        .map(|line| {
            let message = line.get("message").and_then(Json::as_str).unwrap();
            // The recorded device had a service `guard` where the simulated one has `onebox`.
            let message = message.replace("service: guard", "service: onebox");
            (
                comparable(&message),
                line.get("isStdErr").is_some_and(Json::is_true),
            )
        })
        .skip(1)
        .collect()
}

/// Hides image ids and the random part of the engine's temporary file.
fn comparable(message: &str) -> String {
    let mut text = message.to_owned();
    for (marker, kind) in [
        ("sha256:", char::is_ascii_hexdigit as fn(&char) -> bool),
        ("GetImageBlob", char::is_ascii_digit),
    ] {
        let mut parts = text.split(marker).map(str::to_owned).collect::<Vec<_>>();
        for part in parts.iter_mut().skip(1) {
            *part = part.trim_start_matches(|c| kind(&c)).to_owned();
        }
        text = parts.join(marker);
    }
    text
}

fn simulated(supervisor: &VirtualSupervisor) -> Vec<Line> {
    let line = |effect: &Effect| match effect {
        Effect::SystemLine { line, is_error } => Some((comparable(line), *is_error)),
        _ => None,
    };
    supervisor.effects.iter().filter_map(line).collect()
}

/// A Supervisor that has applied a release and is given the next one, whose agent has this image.
fn supervisor_with_next(
    agent_image: &str,
    prepare: impl FnOnce(&mut VirtualSupervisor),
) -> VirtualSupervisor {
    let mut supervisor = VirtualSupervisor::unmanaged();
    let first = TestRelease::new(RUNNING, "1", "onebox:1").with_agent_image("127.0.0.1:5001/gb:v3");
    supervisor.post(&first.local_target("device")).wait(30);
    assert!(supervisor.has_applied(RUNNING));
    prepare(&mut supervisor);
    supervisor.effects.clear();
    let next = TestRelease::new(NEXT, "2", "onebox:1").with_agent_image(agent_image);
    supervisor.post(&next.local_target("device"));
    supervisor
}

/// The simulated lines begin as the recorded ones.
fn compare(file: &str, mut supervisor: VirtualSupervisor, seconds: u64) {
    supervisor.wait(seconds);
    let (recorded, simulated) = (recorded(file), simulated(&supervisor));
    assert!(recorded.len() >= 2, "{file} is empty");
    let begin = simulated.get(..recorded.len()).unwrap_or(&simulated);
    assert_eq!(begin, recorded, "{file}");
}

#[test]
fn a_missing_image_is_logged_as_recorded() {
    const IMAGE: &str = "127.0.0.1:5001/gb:nosuch";
    let supervisor = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.set_image(IMAGE, Image::missing());
    });
    compare("e3-log-missing-image", supervisor, 1);
}

#[test]
fn a_registry_that_is_away_is_logged_as_recorded() {
    let supervisor = supervisor_with_next("127.0.0.1:5001/gb:v4", |supervisor| {
        supervisor.set_registry_down(true);
    });
    compare("e3-log-registry-away", supervisor, 10);
}

#[test]
fn a_full_disk_is_logged_as_recorded() {
    const IMAGE: &str = "127.0.0.1:5001/gb:big";
    let breaks = Image {
        pull: Pull::BreaksAt {
            millis: 1000,
            percent: 60,
        },
        run: Behaviour::Runs,
        content: None,
    };
    let supervisor = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.set_image(IMAGE, breaks);
    });
    compare("e3-log-disk-full", supervisor, 12);
}

#[test]
fn a_lock_is_logged_as_recorded() {
    let supervisor = supervisor_with_next("127.0.0.1:5001/gb:v3", |supervisor| {
        supervisor.lock(1, "onebox");
    });
    compare("e3-log-locked", supervisor, 10);
}

#[test]
fn a_service_that_cannot_be_started_is_logged_as_recorded() {
    const IMAGE: &str = "127.0.0.1:5001/gb:v5";
    let supervisor = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.break_image(IMAGE);
    });
    compare("e3-log-start-fails", supervisor, 30);
}

#[test]
fn a_crash_loop_is_logged_as_recorded() {
    const IMAGE: &str = "127.0.0.1:5001/gb:crashes";
    let crashes = Behaviour::Exits {
        after_millis: 3000,
        code: 1,
    };
    let supervisor = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.set_image(IMAGE, Image::new(crashes, 100));
        // The recorded image was there.
        let other = TestRelease::new("0ther0000", "1", "onebox:1").with_agent_image(IMAGE);
        supervisor.post(&other.local_target("device")).wait(5);
        let first = TestRelease::new(RUNNING, "1", "onebox:1").with_agent_image("127.0.0.1:5001/gb:v3");
        supervisor.post(&first.local_target("device")).wait(30);
    });
    compare("e3-log-crash-loop", supervisor, 30);
}

/// A newer target neither ends the pause of an image nor that of the apply loop, and nothing is logged meanwhile.
#[test]
fn an_image_keeps_its_pause_over_posts_and_attempts_in_it_are_silent() {
    const IMAGE: &str = "127.0.0.1:5001/gb:v4";
    let mut supervisor = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.set_registry_down(true);
    });
    let tries = |supervisor: &VirtualSupervisor| {
        let begins = |line: &Line| line.0.starts_with("Downloading image");
        simulated(supervisor).iter().filter(|line| begins(line)).count()
    };
    supervisor.wait(20);
    assert_eq!(tries(&supervisor), 5, "after 1, 2, 4 and 8 s");
    // Another target is applied, which ends the back-off of the apply loop, then the first one comes back.
    let first = TestRelease::new(RUNNING, "1", "onebox:1").with_agent_image("127.0.0.1:5001/gb:v3");
    supervisor.post(&first.local_target("device")).wait(13);
    assert!(supervisor.has_applied(RUNNING));
    let next = TestRelease::new(NEXT, "2", "onebox:1").with_agent_image(IMAGE);
    supervisor.post(&next.local_target("device")).wait(1);
    assert_eq!(
        tries(&supervisor),
        6,
        "the sixth pull fails, and its pause is 32 s"
    );
    supervisor.set_registry_down(false);
    supervisor.wait(8);
    assert_eq!(tries(&supervisor), 6, "attempts in the pause are silent");
    let device = supervisor.get("/v1/device");
    assert!(device.get("update_failed").is_some_and(Json::is_true), "{device}");
    supervisor.wait(60);
    assert!(supervisor.has_applied(NEXT));
}

#[test]
fn the_flags_tell_a_failed_pull_from_a_failed_start() {
    let flags = |supervisor: &mut VirtualSupervisor| {
        let device = supervisor.get("/v1/device");
        ["update_pending", "update_failed", "update_downloaded"]
            .map(|flag| device.get(flag).is_some_and(Json::is_true))
    };
    const IMAGE: &str = "127.0.0.1:5001/gb:v4";
    let mut slow = supervisor_with_next(IMAGE, |_| {});
    slow.wait(2);
    assert_eq!(flags(&mut slow), [true, false, false], "a slow pull");
    let mut missing = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.set_image(IMAGE, Image::missing());
    });
    missing.wait(2);
    assert_eq!(flags(&mut missing), [true, true, false], "a missing image");
    let mut locked = supervisor_with_next("127.0.0.1:5001/gb:v3", |supervisor| {
        supervisor.lock(1, "onebox");
    });
    locked.wait(2);
    assert_eq!(
        flags(&mut locked),
        [true, true, false],
        "a lock, and the image is there"
    );
    let mut broken = supervisor_with_next(IMAGE, |supervisor| {
        supervisor.break_image(IMAGE);
    });
    broken.wait(10);
    assert_eq!(flags(&mut broken), [true, true, true], "a start that fails");
    assert_eq!(
        broken.model.container("baserunner").unwrap().status(),
        "Installed"
    );
}
