use super::*;
use crate::lifecycle::effect::{OpId, RequestId};
use crate::lifecycle::event::{LocalCall, Registration};
use crate::lifecycle::facts::{CallFailure, JoinOffer, Run};
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::Timer;
use crate::lifecycle::{Checkpoint, Effect, Event, Step};
use crate::telemetry::capture::Capture;
use baseos_interfaces::register::{Approval, ServerLimits};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;
use tracing::subscriber::DefaultGuard;

/// What this thread logs until the guard is dropped.
fn capture() -> (Capture, DefaultGuard) {
    let log = Capture::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn at(seconds: u64) -> Stamp {
    Stamp {
        boot: Millis(seconds * 1000),
        wall: "2026-11-30T12:00:00Z".parse().unwrap(),
        entropy: 0,
    }
}

fn offer(token: &str) -> JoinOffer {
    JoinOffer {
        token: Ok(TokenId::new(token)),
        registration_id: RegistrationId::parse("0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20").unwrap(),
        replace: false,
    }
}

fn run(join: Option<JoinOffer>) -> Run {
    Run {
        boot_id: "b_1".into(),
        join,
        ..Run::default()
    }
}

fn register_op(step: &Step) -> OpId {
    let mut ops = step.effects.iter().filter_map(|effect| match effect {
        Effect::Register { op, .. } => Some(*op),
        _ => None,
    });
    ops.next().unwrap()
}

fn registered(op: OpId) -> Event {
    let node = Registration {
        node_id: "node_1".into(),
        approval: Approval::Approved,
        approval_reason: None,
        fleet: None,
        next_heartbeat_seconds: 60,
        limits: ServerLimits::default(),
        server_time: at(0).wall,
    };
    Event::Registered {
        op,
        node: Box::new(node),
    }
}

fn failure(kind: CallFailureKind, message: &str) -> CallFailure {
    CallFailure {
        kind,
        code: None,
        message: message.to_owned(),
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    }
}

fn failed(op: OpId, kind: CallFailureKind, message: &str) -> Event {
    let failure = failure(kind, message);
    Event::RegisterFailed { op, failure }
}

/// A new process, which has what was written to disk.
fn restarted(step: Step, join: Option<JoinOffer>, now: Stamp) -> Machine {
    let written = serde_json::to_string(&step.checkpoint.unwrap()).unwrap();
    let checkpoint: Checkpoint = serde_json::from_str(&written).unwrap();
    Machine::resume(checkpoint, run(join), now).0
}

fn warnings(log: &Capture, what: &str) -> usize {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains("WARN"));
    lines.filter(|line| line.contains(what)).count()
}

#[test]
fn a_refused_join_token_is_warned_of_once() {
    let (log, _guard) = capture();
    let (mut machine, step) = Machine::resume(Checkpoint::default(), run(Some(offer("token00001"))), at(1));
    let mut contact = ContactLog::new(&machine);
    contact.update(&machine);
    let refused = "Cloudly answered 401: the token is unknown";
    let event = failed(register_op(&step), CallFailureKind::Unauthorized, refused);
    let _ = machine.step(&event, at(2));
    contact.update(&machine);
    contact.update(&machine);
    assert_eq!(warnings(&log, refused), 1, "{}", log.text());
    assert_eq!(warnings(&log, "token00001"), 1, "{}", log.text());
    let again = Event::LocalRequested {
        request: RequestId(1),
        call: LocalCall::Join(offer("token00001")),
    };
    let _ = machine.step(&again, at(3));
    contact.update(&machine);
    assert_eq!(warnings(&log, refused), 1, "{}", log.text());
}

#[test]
fn a_refused_replacement_of_an_identity_is_warned_of_and_no_news_to_the_next_run() {
    let (log, _guard) = capture();
    let (mut machine, step) = Machine::resume(Checkpoint::default(), run(Some(offer("token00001"))), at(1));
    let mut contact = ContactLog::new(&machine);
    let step = machine.step(&registered(register_op(&step)), at(2));
    let op = step.effects.iter().find_map(Effect::op).unwrap();
    let failure = failure(CallFailureKind::Unavailable, "busy");
    let _ = machine.step(&Event::HeartbeatFailed { op, failure }, at(2));
    let replace = Event::LocalRequested {
        request: RequestId(1),
        call: LocalCall::Join(JoinOffer {
            replace: true,
            ..offer("token00002")
        }),
    };
    let step = machine.step(&replace, at(3));
    let refused = "Cloudly answered 401: the token is unknown";
    let event = failed(register_op(&step), CallFailureKind::Unauthorized, refused);
    let step = machine.step(&event, at(4));
    contact.update(&machine);
    assert_eq!(warnings(&log, "token00002"), 1, "{}", log.text());
    let machine = restarted(step, None, at(5));
    ContactLog::new(&machine).update(&machine);
    assert_eq!(warnings(&log, "token00002"), 1, "{}", log.text());
}

#[test]
fn what_an_earlier_run_failed_with_is_not_logged_before_this_one_has_tried() {
    let (log, _guard) = capture();
    let (mut machine, step) = Machine::resume(Checkpoint::default(), run(Some(offer("token00001"))), at(1));
    let event = failed(
        register_op(&step),
        CallFailureKind::Unreachable,
        "no way to the old URL",
    );
    let step = machine.step(&event, at(2));

    let mut machine = restarted(step, Some(offer("token00001")), at(3));
    let mut contact = ContactLog::new(&machine);
    contact.update(&machine);
    assert_eq!(warnings(&log, "no way to the old URL"), 0, "{}", log.text());
    let tried = machine.step(&Event::Elapsed(Timer::Register), at(600));
    let event = failed(
        register_op(&tried),
        CallFailureKind::Unreachable,
        "no way to the new URL",
    );
    let _ = machine.step(&event, at(601));
    contact.update(&machine);
    assert_eq!(warnings(&log, "no way to the new URL"), 1, "{}", log.text());
}
