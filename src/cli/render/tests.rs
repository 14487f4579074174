use super::*;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::{ErrorCode, IssueCode};
use baseos_interfaces::local::{CloudlyStatus, Lock, ServiceLock};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{BlockerKind, HealthIssue, SupervisorStatus, UnusedImage, UpdateError};

const PLAIN: Style = Style(false);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn waiting() -> LocalStatus {
    LocalStatus {
        summary: "An update to 1.13.0 waits for onebox: backup running.".to_owned(),
        state: AgentState::Waiting,
        node_id: Some("node_01".to_owned()),
        supervisor: SupervisorStatus {
            available: Some(true),
            version: Some("19.0.5".to_owned()),
            managed: Some(false),
            error: None,
        },
        cloudly: CloudlyStatus {
            connected: false,
            last_contact_at: Some(time("2026-11-22T22:41:07Z")),
            error: Some("no answer in time".to_owned()),
            failures: 3,
        },
        running: Some("1f0a".to_owned()),
        observed_revision: 43,
        update: UpdateStatus {
            state: UpdateState::Waiting,
            target: Some("77c2".to_owned()),
            progress_percent: Some(40),
            attempt: Some(1),
            max_attempts: Some(3),
            blocked_by: vec![Blocker {
                kind: BlockerKind::LocalLock,
                holder: Some("onebox".to_owned()),
                reason: Some("backup\x1b[2J\u{202e}running".to_owned()),
                since: time("2026-11-22T22:40:00Z"),
                expires_at: None,
            }],
            ..UpdateStatus::default()
        },
        guard: None,
        unused_images: Vec::new(),
        stopped_by_operator: Vec::new(),
        issues: vec![HealthIssue {
            code: IssueCode::SupervisorApiExposed,
            since: time("2026-11-22T20:00:00.123Z"),
            detail: None,
        }],
    }
}

#[test]
fn a_node_without_a_known_id_is_not_called_unenrolled() {
    let shown = |state| {
        let nameless = LocalStatus {
            node_id: None,
            state,
            ..waiting()
        };
        status(&nameless, PLAIN)
    };
    assert!(shown(AgentState::Idle).contains("enrolled; its id is not known"));
    assert!(shown(AgentState::Unenrolled).contains("not enrolled"));
}

#[test]
fn a_service_that_an_operator_stopped_is_called_that() {
    let stopped = LocalStatus {
        stopped_by_operator: vec!["onebox".to_owned()],
        ..waiting()
    };
    let text = status(&stopped, PLAIN);
    let row =
        "\n  service     onebox: stopped by an operator, until `cloudly node command NODE startService`\n";
    assert!(text.contains(row), "{text}");
}

#[test]
fn status_prints_the_summary_and_then_one_row_per_fact() {
    let expected = "\
An update to 1.13.0 waits for onebox: backup running.

  state       waiting
  node        node_01
  running     1f0a
  update      to 77c2 waiting, 40 %, attempt 1 of 3
  blocked by  localLock (onebox: backup [2J running) since 2026-11-22T22:40:00Z
  supervisor  available 19.0.5, gets releases from this agent
  cloudly     not connected: no answer in time, 3 calls failed in a row, last contact 2026-11-22T22:41:07Z
  issue       supervisorApiExposed (since 2026-11-22T20:00:00Z)
";
    assert_eq!(status(&waiting(), PLAIN), expected);
}

#[test]
fn status_of_an_unenrolled_node_and_of_a_failed_update() {
    let mut facts = waiting();
    facts.state = AgentState::Unenrolled;
    facts.node_id = None;
    facts.running = None;
    facts.cloudly = CloudlyStatus::default();
    facts.supervisor = SupervisorStatus {
        available: Some(false),
        error: Some("no connection".to_owned()),
        ..Default::default()
    };
    facts.update.blocked_by.clear();
    facts.update.error = Some(UpdateError {
        code: ErrorCode::HealthCheckFailed,
        message: "onebox did not stay up".to_owned(),
        evidence: ["onebox: exited", "onebox did not stay up"]
            .map(str::to_owned)
            .to_vec(),
        at: time("2026-11-22T22:00:00Z"),
    });
    let text = status(&facts, PLAIN);
    for line in [
        "  node        not enrolled",
        "  running     not known at the moment",
        "  cloudly     not connected, no contact yet",
        "  supervisor  not available: no connection",
        "  error       onebox did not stay up (healthCheckFailed, 2026-11-22T22:00:00Z)",
        "              onebox: exited",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} in\n{text}");
    }
    assert_eq!(text.matches("did not stay up").count(), 1, "{text}");
}

#[test]
fn status_has_colours_only_when_on_and_never_from_foreign_text() {
    assert!(!status(&waiting(), PLAIN).contains('\x1b'));
    let coloured = status(&waiting(), Style(true));
    assert!(coloured.contains("\x1b[33mwaiting\x1b[0m"));
    assert!(!coloured.contains("\x1b[2J"));
}

#[test]
fn status_lists_images_that_are_no_longer_needed_and_what_to_do() {
    let image = |image: &str, size_bytes| UnusedImage {
        image: image.to_owned(),
        size_bytes,
    };
    let mut facts = waiting();
    facts.unused_images = vec![image("onebox:1", Some(3 << 20)), image("old\x1b:1", None)];
    let text = status(&facts, PLAIN);
    for line in [
        "  unused      onebox:1 (3 MiB)".to_owned(),
        "  unused      old :1".to_owned(),
        format!("              {}", UnusedImage::REMEDY),
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} in\n{text}");
    }
}

#[test]
fn doctor_shows_the_fix_of_a_failed_check_below_it() {
    let checks = vec![
        Check {
            name: "cloudly".to_owned(),
            ok: true,
            warning: false,
            fact: "connected".to_owned(),
            fix: Some("none".to_owned()),
        },
        Check {
            name: "state".to_owned(),
            ok: false,
            warning: false,
            fact: "the disk is full".to_owned(),
            fix: Some("make room".to_owned()),
        },
    ];
    let expected = "ok cloudly  connected\n✗  state    the disk is full\n            → make room\n";
    assert_eq!(doctor(&Doctor { checks }, PLAIN), expected);
}

#[test]
fn locks_prints_one_line_per_lock() {
    let held = Lock {
        name: "backup".to_owned(),
        owner: "onebox".to_owned(),
        reason: "nightly".to_owned(),
        scope: LockScope::App,
        fencing: 4,
        since: time("2026-11-22T22:40:00Z"),
        remaining_seconds: 55,
    };
    let locks_held = Locks {
        locks: vec![held],
        foreign: vec!["/tmp/x/updates.lock".to_owned()],
        services: vec![ServiceLock {
            service: Some("db".to_owned()),
            since: time("2026-11-22T22:41:00Z"),
        }],
        draining: true,
        forced: false,
    };
    let expected = "\
An update waits for these locks to end; no new ones are granted.
backup (app) held by onebox: nightly; since 2026-11-22T22:40:00Z, 55 s left
/tmp/x/updates.lock was created by another program; the agent does not touch it
service db is locked by its own lock file, which the Supervisor met, not by a lease of the agent; since 2026-11-22T22:41:00Z
";
    assert_eq!(locks(&locks_held, PLAIN), expected);
    let overridden = Locks {
        draining: true,
        forced: true,
        ..Locks::default()
    };
    let text = locks(&overridden, PLAIN);
    assert!(text.starts_with("An update goes ahead despite locks"), "{text}");
    assert_eq!(locks(&Locks::default(), PLAIN), "No locks.\n");
}
