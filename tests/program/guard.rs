//! The guard of the agent's own update: whatever a new agent is like, the device is not lost.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, has_issue, options, policy, release};
use crate::host::WITH_BOOT_ID;
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{Error, Result, TestRelease, TestbedOptions, ensure, run_cases, wait_until};
use baseos_simulator::supervisor::{Behaviour, Image};

/// Replaces the agent.
const NEW: &str = "d4d4d4d4";
const NEW_IMAGE: &str = "baserunner:new";

/// A release that differs from `V1` in the agent alone.
fn new_release() -> TestRelease {
    let mut release = release(V1).with_agent_image(NEW_IMAGE);
    (release.commit, release.version) = (NEW.to_owned(), "4.0.0".to_owned());
    release
}

/// A new agent that runs this shell code first, which may end the program, with little time to prove itself.
fn with_new_agent(options: TestbedOptions, shell: &str) -> (TestbedOptions, WrapperScript) {
    let script = WrapperScript::with_every_start(shell);
    let options = options
        .with_agent_program(NEW_IMAGE, &script.program())
        .with_agent_variable("BASEOS_GUARD_BUDGET", "3s");
    (options, script)
}

async fn desire_new(fixture: &Fixture) -> Result<()> {
    fixture.publish(&new_release()).await?;
    fixture.desire(NEW).await.map(drop)
}

/// The device runs `V1` again, the outcome is reported once with what the guard saw, and the release is not tried again.
async fn check_restored(fixture: &Fixture) -> Result<()> {
    let node = fixture
        .wait_update_ended(UpdateState::RolledBack, NEW, V1)
        .await?;
    fixture.wait_runs(V1, LIMIT).await?;
    let status = node.status.as_ref();
    let error = status.and_then(|status| status.update.error.as_ref());
    let error = error.ok_or_else(|| Error::new("the outcome has no error"))?;
    if has_issue(&node, "foreignTarget") {
        return Err(Error::new(
            "the release that the guard put back is taken for somebody else's",
        ));
    }
    if error.code != "agentNotProven" || error.evidence.is_empty() {
        return Err(Error::new(format!("{error:?}")));
    }
    let ends = fixture.reported_ends(NEW).await?;
    if ends != ["rolled-back"] {
        return Err(Error::new(format!("Cloudly has {ends:?}")));
    }
    let posts = fixture.count_posts(NEW);
    if posts != 1 {
        return Err(Error::new(format!(
            "the bad release was posted {posts} times\n{}",
            fixture.diagnostics()
        )));
    }
    fixture.wait_guard("baserunner:1", V1).await?;
    fixture.check_consistency().await
}

async fn update_is_undone(options: TestbedOptions) -> Result<()> {
    let fixture = Fixture::start(options).await?;
    desire_new(&fixture).await?;
    check_restored(&fixture).await?;
    // The device is still in Cloudly's hands.
    fixture.desire(V2).await?;
    fixture.wait_update_succeeded(V2).await.map(drop)
}

/// Ways in which a new agent may be bad, as what runs before it.
const BAD_AGENTS: &[(&str, &str)] = &[
    ("exits at once", "exit 1"),
    ("exits with success", "exit 0"),
    ("hangs", "exec sleep 1000"),
    ("has no settings it can use", "export BASEOS_CLOUDLY_URL=nonsense"),
    (
        "looks for Cloudly elsewhere",
        "export BASEOS_CLOUDLY_URL=http://127.0.0.1:9",
    ),
    ("has no way to the Supervisor", "unset BALENA_SUPERVISOR_ADDRESS"),
    (
        "cannot use its local API",
        "export BASEOS_AGENT_URL=unix:///proc/nowhere/api.sock",
    ),
    (
        "damages the orders",
        "sleep 2; echo '{' > $BASEOS_STATE_DIR/guard-orders.json; exit 1",
    ),
];

#[tokio::test]
async fn a_bad_new_agent_is_replaced_by_the_proven_one() {
    let cases = BAD_AGENTS.iter().map(|(name, shell)| {
        let (options, script) = with_new_agent(options(), shell);
        (name, async move {
            let _script = script;
            update_is_undone(options).await
        })
    });
    run_cases(cases).await.unwrap();
}

#[tokio::test]
async fn an_agent_image_of_another_architecture_is_replaced_by_the_proven_one() {
    let options = options()
        .with_image(NEW_IMAGE, Image::new(Behaviour::DoesNotStart, 200))
        .with_agent_variable("BASEOS_GUARD_BUDGET", "3s");
    update_is_undone(options).await.unwrap();
}

#[tokio::test]
async fn a_missing_agent_image_leaves_the_old_agent_at_work_and_the_guard_at_rest() {
    let options = options()
        .with_image(NEW_IMAGE, Image::missing())
        .with_agent_variable("BASEOS_GUARD_BUDGET", "2s");
    let fixture = Fixture::start(options).await.unwrap();
    fixture.publish(&new_release()).await.unwrap();
    let policy = Policy {
        apply_timeout_seconds: 5,
        max_attempts: 1,
        ..policy()
    };
    fixture.set_desired(Some(NEW), policy).await.unwrap();
    let on_trial = fixture.wait_agent("the release is on trial", LIMIT, |status| {
        let guard = status.guard.as_ref();
        guard.is_some_and(|guard| guard.trial.as_deref() == Some(NEW))
    });
    on_trial.await.unwrap();
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(
        fixture.device.starts("baserunner"),
        1,
        "the old agent ran all the time"
    );
    assert!(fixture.guard_report()["restored"].is_null());
    fixture.assert_consistent().await;
}

fn container_id(fixture: &Fixture, service: &str) -> String {
    let id = fixture
        .device
        .with_model(|model, _| Some(model.container(service)?.id.clone()));
    id.unwrap_or_default()
}

#[tokio::test]
async fn a_good_new_agent_proves_itself_and_the_guard_follows_it_afterwards() {
    let (options, _script) = with_new_agent(options(), "");
    let options = options.with_agent_variable("BASEOS_GUARD_BUDGET", "30s");
    let fixture = Fixture::start(options).await.unwrap();
    let (agent, guard) = (
        container_id(&fixture, "baserunner"),
        container_id(&fixture, GUARD_SERVICE),
    );
    let onebox = container_id(&fixture, "onebox");
    desire_new(&fixture).await.unwrap();
    fixture.wait_update_succeeded(NEW).await.unwrap();
    assert_ne!(container_id(&fixture, "baserunner"), agent);
    fixture.wait_guard(NEW_IMAGE, NEW).await.unwrap();
    assert_ne!(container_id(&fixture, GUARD_SERVICE), guard);
    assert_eq!(
        container_id(&fixture, "onebox"),
        onebox,
        "no other service was disturbed"
    );
    // The update, and the guard's own move after it.
    assert_eq!(fixture.count_posts(NEW), 2);
    let requests = fixture.device.requests();
    let targets: Vec<(String, String)> = requests.iter().filter_map(images_of_post).collect();
    let expected = [(NEW_IMAGE, "baserunner:1"), (NEW_IMAGE, NEW_IMAGE)];
    assert_eq!(
        targets,
        expected.map(|(agent, guard)| (agent.to_owned(), guard.to_owned()))
    );
    fixture
        .wait_agent("the guard is armed", LIMIT, |status| {
            status
                .guard
                .as_ref()
                .is_some_and(|guard| guard.armed && guard.trial.is_none())
        })
        .await
        .unwrap();
    let checks = fixture.agent.doctor().await.unwrap().checks;
    let check = checks.iter().find(|check| check.name == "guard").unwrap();
    assert!(check.ok && check.fact.contains(NEW), "{check:?}");
    fixture.assert_consistent().await;
}

/// The images of the agent and of its guard in a target that reached the Supervisor.
fn images_of_post(request: &baseos_simulator::device::LoggedRequest) -> Option<(String, String)> {
    crate::target_posts::posted_commit(request)?;
    let body: serde_json::Value = serde_json::from_str(&request.body).ok()?;
    let app = body["local"]["apps"].as_object()?.values().next()?.clone();
    let image = |name: &str| {
        let services = app["services"].as_object()?;
        let service = services.values().find(|service| service["serviceName"] == name)?;
        service["image"].as_str().map(str::to_owned)
    };
    Some((image("baserunner")?, image(GUARD_SERVICE)?))
}

#[tokio::test]
async fn an_update_that_leaves_the_agent_alone_begins_no_trial() {
    let fixture = Fixture::start(options()).await.unwrap();
    let guard = container_id(&fixture, GUARD_SERVICE);
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.wait_guard("baserunner:1", V2).await.unwrap();
    assert_eq!(container_id(&fixture, GUARD_SERVICE), guard);
    assert!(fixture.guard_report()["watched"].is_null());
}

#[tokio::test]
async fn the_supervisor_is_asked_again_until_it_is_seen_to_have_the_proven_release() {
    let (options, _script) = with_new_agent(options(), "exit 1");
    let fixture = Fixture::start(options).await.unwrap();
    desire_new(&fixture).await.unwrap();
    wait_replaced(&fixture).await.unwrap();
    fixture.device.set_port_closed(true);
    let noticed = wait_until("the guard has noticed", LIMIT, async || {
        let report = fixture.guard_report();
        ensure(
            report["watched"]["silentSince"].is_u64() || !report["restored"].is_null(),
            || report.to_string(),
        )
    });
    noticed.await.unwrap();
    // Refused twice, then accepted and forgotten.
    for (code, times) in [(503, 2), (200, 1)] {
        let mut fault = Fault::on("/v2/local/target-state", FaultKind::Status { code }).times(times);
        fault.method = Some("POST".to_owned());
        fixture.device.add_fault(fault);
    }
    fixture.device.set_port_closed(false);
    check_restored(&fixture).await.unwrap();
}

/// How a release is lost, and what does that.
type Loss = (&'static str, fn(&Fixture));

/// What may take the proven release away again before its agent is back.
const LOSSES: &[Loss] = &[
    ("the Supervisor loses its database", |fixture| {
        fixture.device.lose_database();
    }),
    ("somebody posts the bad release again", |fixture| {
        let requests = fixture.device.requests();
        let bad = requests
            .iter()
            .find(|request| crate::target_posts::posted_commit(request).is_some_and(|commit| commit == NEW));
        let body = baseos_simulator::json::Json::parse(bad.unwrap().body.as_bytes()).unwrap();
        fixture.device.post_target(&body);
    }),
];

#[tokio::test]
async fn a_proven_release_that_is_lost_again_before_its_agent_is_back_is_put_back_again() {
    let cases = LOSSES.iter().map(|(name, lose)| (name, lost_again(*lose)));
    run_cases(cases).await.unwrap();
}

async fn lost_again(lose: fn(&Fixture)) -> Result<()> {
    let old = WrapperScript::new();
    let (options, _bad) = with_new_agent(old.options(), "exit 1");
    let fixture = Fixture::start(options).await?;
    let posts = fixture.count_posts(V1);
    old.at_next_start("while [ ! -e $BASEOS_RUN_DIR/go ]; do sleep 0.1; done");
    desire_new(&fixture).await?;
    let put_back = wait_until("the proven release is put back", LIMIT, async || {
        let report = fixture.guard_report();
        ensure(
            report["restored"]["accepted"] == true && fixture.device.runs(V1),
            || report.to_string(),
        )
    });
    put_back.await?;
    lose(&fixture);
    let again = wait_until("it is put back again", LIMIT, async || {
        let times = fixture.count_posts(V1) - posts;
        ensure(times == 2 && fixture.device.runs(V1), || {
            format!("posted {times} times\n{}", fixture.diagnostics())
        })
    });
    again.await?;
    std::fs::write(fixture.device.run_dir().join("go"), "")?;
    check_restored(&fixture).await?;
    let noted = wait_until("the guard rests", LIMIT, async || {
        let report = fixture.guard_report();
        ensure(report["restored"]["noted"] == true, || report.to_string())
    });
    noted.await
}

/// Waits until the guard has seen that the old agent is gone.
async fn wait_replaced(fixture: &Fixture) -> Result<()> {
    wait_until("the agent is replaced", LIMIT, async || {
        let report = fixture.guard_report();
        ensure(
            report["watched"]["replacedSince"].is_u64() || !report["restored"].is_null(),
            || report.to_string(),
        )
    })
    .await
}

#[tokio::test]
async fn a_power_cut_during_the_trial_does_not_change_the_end() {
    let old = WrapperScript::with_every_start(WITH_BOOT_ID);
    let bad = WrapperScript::with_every_start("exec sleep 1000");
    let options = old
        .options()
        .with_agent_program(NEW_IMAGE, &bad.program())
        .with_agent_variable("BASEOS_GUARD_BUDGET", "3s");
    let fixture = Fixture::start(options).await.unwrap();
    desire_new(&fixture).await.unwrap();
    wait_replaced(&fixture).await.unwrap();
    fixture.device.power_cycle();
    check_restored(&fixture).await.unwrap();
}

#[tokio::test]
async fn a_new_agent_that_proves_itself_without_cloudly_keeps_its_place() {
    let (options, _script) = with_new_agent(options(), "");
    let options = options.with_agent_variable("BASEOS_GUARD_BUDGET", "10s");
    let mut fixture = Fixture::start(options).await.unwrap();
    fixture.publish(&new_release()).await.unwrap();
    // The release waits for a lock until Cloudly is away.
    let lock = fixture.lock(baseos_interfaces::local::LockScope::App, 600);
    lock.await.unwrap();
    fixture.desire(NEW).await.unwrap();
    fixture
        .wait_update_state(UpdateState::Waiting, NEW)
        .await
        .unwrap();
    fixture.cloudly.kill().await;
    fixture.wait_connected(false).await.unwrap();
    fixture.agent.unlock("backup").await.unwrap();
    fixture
        .wait_update_state(UpdateState::Succeeded, NEW)
        .await
        .unwrap();
    // Without a heartbeat the guard stays with the image that Cloudly has heard.
    let image = fixture.device.with_model(|model, _| {
        model
            .container(GUARD_SERVICE)
            .map(|guard| guard.config.image.clone())
    });
    assert_eq!(image.as_deref(), Some("baserunner:1"));
    fixture.cloudly.start_again().await.unwrap();
    fixture.wait_guard(NEW_IMAGE, NEW).await.unwrap();
    assert_eq!(fixture.reported_ends(NEW).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

/// Where the old agent or the guard is killed, at which hit.
const FAIL_POINTS: &[(&str, &str, u32)] = &[
    ("agent", "file.before_rename.guard-orders.json", 2),
    ("agent", "file.after_rename.guard-orders.json", 2),
    ("agent", "effect.before.ApplyTarget", 2),
    ("agent", "effect.after.ApplyTarget", 2),
    ("guard", "file.before_rename.guard-report.json", 3),
    ("guard", "file.after_rename.guard-report.json", 3),
    ("guard", "guard.before_report", 4),
    ("guard", "guard.after_report", 4),
    ("guard", "guard.before_post", 1),
    ("guard", "guard.after_post", 1),
    ("guard", "guard.after_report", 5),
];

#[tokio::test]
async fn a_kill_of_the_agent_or_its_guard_at_any_step_does_not_change_the_end() {
    if !cfg!(feature = "failpoints") {
        panic!("the agent has no fail points: `cargo test --features failpoints --test program`");
    }
    let cases = FAIL_POINTS.iter().map(|(who, point, hit)| {
        (
            format!("{who} {point}:{hit}"),
            killed(who, format!("{point}:{hit}")),
        )
    });
    run_cases(cases).await.unwrap();
}

async fn killed(who: &str, fail_point: String) -> Result<()> {
    let count = if who == "guard" { "-ge 1" } else { "-eq 0" };
    let once = format!(
        "if [ $# {count} ] && [ ! -e $BASEOS_RUN_DIR/killed-once ]; then touch $BASEOS_RUN_DIR/killed-once; \
         export BASEOS_FAILPOINT='{fail_point}'; fi"
    );
    let old = WrapperScript::with_every_start(&once);
    let (options, _bad) = with_new_agent(old.options(), "exit 1");
    let fixture = Fixture::start(options).await?;
    desire_new(&fixture).await?;
    check_restored(&fixture).await?;
    let service = if who == "guard" {
        GUARD_SERVICE
    } else {
        "baserunner"
    };
    let was_killed = fixture.device.exit_codes(service).contains(&(128 + 9));
    was_killed
        .then_some(())
        .ok_or_else(|| Error::new("it was not killed: does it hit the fail point this often?"))
}

#[tokio::test]
async fn a_release_with_a_service_of_the_guards_name_is_refused() {
    let fixture = Fixture::start(options()).await.unwrap();
    let mut request = release(V3).create_request();
    request.commit = "e5e5e5e5".to_owned();
    let onebox = request.services["onebox"].clone();
    request.services.insert(GUARD_SERVICE.to_owned(), onebox);
    let refused = fixture.cloudly.create_release(&request).await.unwrap_err();
    assert!(refused.to_string().contains("reserved"), "{refused}");
}
