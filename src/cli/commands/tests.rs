use super::*;
use crate::adapters::local_api::{LocalApi, LocalApiSettings};
use crate::lifecycle::effect::{Effect, LocalAnswer};
use crate::lifecycle::event::{Event, LocalCall};
use crate::vault::test::{EmptyVault, token};
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::local::Lock;
use baseos_interfaces::problem::Problem;
use baseos_interfaces::registration::RegistrationId;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

struct FailedCheck;

impl OfflineChecks for FailedCheck {
    async fn checks(&self) -> Vec<Check> {
        vec![check(false)]
    }
}

fn check(ok: bool) -> Check {
    let fix = (!ok).then(|| "turn it on".to_owned());
    Check {
        name: "supervisor".to_owned(),
        ok,
        warning: false,
        fact: "no connection".to_owned(),
        fix,
    }
}

/// An agent that gives every call the same answer.
struct Agent {
    dir: tempfile::TempDir,
    calls: mpsc::Receiver<LocalCall>,
}

impl Agent {
    fn answering(answer: LocalAnswer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = LocalApiSettings {
            socket: dir.path().join("api.sock"),
            tcp: None,
            token_file: dir.path().join("token"),
            allowed_hosts: Vec::new(),
            entropy: Arc::new(|bytes| bytes.fill(1)),
            new_registration_id: Arc::new(|| RegistrationId::new(0, [7; 16])),
            metrics: Arc::new(String::new),
        };
        let api = LocalApi::bind(settings, Arc::new(EmptyVault)).unwrap();
        let (mailbox, effects) = mpsc::channel(8);
        let (events_to, mut events) = mpsc::channel(8);
        tokio::spawn(api.serve(effects, events_to));
        let (record, calls) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Event::LocalRequested { request, call }) = events.recv().await {
                record.send(call).await.unwrap();
                let answer = Box::new(answer.clone());
                mailbox.send(Effect::Reply { request, answer }).await.unwrap();
            }
        });
        Self { dir, calls }
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

#[derive(Default)]
struct Printed {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Printed {
    fn console(&mut self) -> Console<'_> {
        Console {
            out: &mut self.out,
            err: &mut self.err,
            colour: false,
        }
    }

    fn texts(self) -> (String, String) {
        (
            String::from_utf8(self.out).unwrap(),
            String::from_utf8(self.err).unwrap(),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn doctor_fails_when_a_check_fails() {
    for (ok, code) in [(true, ExitCode::Ok), (false, ExitCode::Failed)] {
        let agent = Agent::answering(LocalAnswer::Doctor(Doctor {
            checks: vec![check(true), check(ok)],
        }));
        let mut printed = Printed::default();
        assert_eq!(
            doctor(&agent.run_dir(), false, &FailedCheck, &mut printed.console()).await,
            code
        );
        assert_eq!(printed.texts().0.contains("→ turn it on"), !ok);
    }
}

#[tokio::test(start_paused = true)]
async fn doctor_tells_a_warning_with_what_to_do_about_it_and_does_not_fail() {
    let warning = Check {
        warning: true,
        fix: Some("close the port".to_owned()),
        ..check(true)
    };
    let agent = Agent::answering(LocalAnswer::Doctor(Doctor {
        checks: vec![warning],
    }));
    let mut printed = Printed::default();
    assert_eq!(
        doctor(&agent.run_dir(), false, &FailedCheck, &mut printed.console()).await,
        ExitCode::Ok
    );
    let expected = "!  supervisor  no connection\n               → close the port\n";
    assert_eq!(printed.texts().0, expected);
}

#[tokio::test(start_paused = true)]
async fn status_and_doctor_run_the_offline_checks_without_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    // The same with a token file left by an agent that has ended.
    for _ in 0..2 {
        let mut printed = Printed::default();
        assert_eq!(
            status(dir.path(), false, &FailedCheck, &mut printed.console()).await,
            ExitCode::Failed
        );
        let (out, err) = printed.texts();
        let expected =
            "The agent is not running.\n\n✗  supervisor  no connection\n               → turn it on\n";
        assert_eq!((out.as_str(), err.as_str()), (expected, ""));
        std::fs::write(dir.path().join("token"), "szl_x").unwrap();
    }
    let mut printed = Printed::default();
    assert_eq!(
        doctor(dir.path(), true, &FailedCheck, &mut printed.console()).await,
        ExitCode::Failed
    );
    let json: serde_json::Value = serde_json::from_slice(&printed.out).unwrap();
    assert_eq!(
        (&json["agentRunning"], &json["checks"][0]["ok"]),
        (&false.into(), &false.into())
    );
}

#[tokio::test(start_paused = true)]
async fn json_output_is_the_answer_of_the_agent() {
    let locks_held = Locks {
        draining: true,
        forced: false,
        ..Locks::default()
    };
    let agent = Agent::answering(LocalAnswer::Locks(locks_held.clone()));
    let mut printed = Printed::default();
    assert_eq!(
        locks(&agent.run_dir(), true, &mut printed.console()).await,
        ExitCode::Ok
    );
    assert_eq!(serde_json::from_slice::<Locks>(&printed.out).unwrap(), locks_held);
}

#[tokio::test(start_paused = true)]
async fn healthcheck_prints_nothing_on_success_and_one_line_on_failure() {
    let agent = Agent::answering(LocalAnswer::Unlocked);
    let mut printed = Printed::default();
    assert_eq!(
        healthcheck(&agent.run_dir(), &mut printed.console()).await,
        ExitCode::Ok
    );
    assert_eq!(printed.texts(), (String::new(), String::new()));

    let empty = tempfile::tempdir().unwrap();
    let mut printed = Printed::default();
    assert_eq!(
        healthcheck(empty.path(), &mut printed.console()).await,
        ExitCode::Failed
    );
    let err = printed.texts().1;
    assert!(
        err.starts_with("The agent is not running (no answer on ") && err.lines().count() == 1,
        "{err}"
    );

    // A listener that never answers.
    let _silent = std::os::unix::net::UnixListener::bind(empty.path().join("api.sock")).unwrap();
    let mut printed = Printed::default();
    assert_eq!(
        healthcheck(empty.path(), &mut printed.console()).await,
        ExitCode::Failed
    );
    assert_eq!(printed.texts().1, "The agent does not answer within 3s.\n");
}

#[tokio::test(start_paused = true)]
async fn join_reads_the_token_from_the_argument_or_standard_input() {
    let token = token(TokenKind::Join, 1);
    for argument in [token.expose(), "-"] {
        let mut agent = Agent::answering(LocalAnswer::Joining(CloudlyStatus::default()));
        let mut printed = Printed::default();
        let stdin = format!("{}\nsecond line\n", token.expose());
        let argument = WireSecret::new(argument);
        let code = join(
            &agent.run_dir(),
            &argument,
            true,
            stdin.as_bytes(),
            &mut printed.console(),
        )
        .await;
        let (out, err) = printed.texts();
        assert_eq!((code, err.as_str()), (ExitCode::Ok, ""));
        assert!(
            out.contains(token.id().as_str()) && !out.contains(&token.expose()[15..]),
            "{out}"
        );
        let call = agent.calls.recv().await.unwrap();
        assert!(
            matches!(call, LocalCall::Join(offer) if offer.replace && offer.token.as_ref() == Ok(token.id()))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn join_reports_a_mistyped_token_a_missing_agent_and_a_refusal() {
    let token = WireSecret::from(&token(TokenKind::Join, 1));
    let empty = tempfile::tempdir().unwrap();
    let mut printed = Printed::default();
    let mistyped = WireSecret::new("szj_0123");
    assert_eq!(
        join(empty.path(), &mistyped, false, &b""[..], &mut printed.console()).await,
        ExitCode::Usage
    );
    assert!(printed.texts().1.contains("was it copied whole?"));

    let mut printed = Printed::default();
    assert_eq!(
        join(empty.path(), &token, false, &b""[..], &mut printed.console()).await,
        ExitCode::Failed
    );
    assert!(printed.texts().1.contains("BASEOS_JOIN_TOKEN"));

    let refusal = Problem::new(409, ProblemCode::Conflict, "This node is enrolled.").detail("Add --replace.");
    let agent = Agent::answering(LocalAnswer::Problem(refusal));
    let mut printed = Printed::default();
    let code = join(&agent.run_dir(), &token, false, &b""[..], &mut printed.console()).await;
    let err = printed.texts().1;
    assert_eq!(
        (code, err.as_str()),
        (ExitCode::Failed, "This node is enrolled. Add --replace.\n")
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_type_is_an_error() {
    let lock = Lock {
        name: "n".to_owned(),
        owner: "o".to_owned(),
        reason: "r".to_owned(),
        scope: Default::default(),
        fencing: 1,
        since: Default::default(),
        remaining_seconds: 1,
    };
    let agent = Agent::answering(LocalAnswer::Lock(lock));
    let mut printed = Printed::default();
    assert_eq!(
        locks(&agent.run_dir(), false, &mut printed.console()).await,
        ExitCode::Failed
    );
    assert!(
        printed
            .texts()
            .1
            .starts_with("The agent's answer is not understood: ")
    );
}

#[test]
fn version_prints_name_version_and_target() {
    let mut printed = Printed::default();
    assert_eq!(version(&mut printed.console()), ExitCode::Ok);
    let out = printed.texts().0;
    let fields: Vec<_> = out.split_whitespace().collect();
    assert_eq!(fields[..2], ["baserunner", env!("CARGO_PKG_VERSION")]);
    assert!(fields[2].contains('-'));
}
