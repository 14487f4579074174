//! SIGKILL at each fail point, in the middle of enrolment, an update, a lease and a rollback.
//!
//! Each case is a whole scenario in which the agent is killed once. The end must be the same as without the kill.

use crate::fixture::{BAD, Fixture, LIMIT, V2};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::admin::CreateCommand;
use baseos_interfaces::command::CommandAction;
use baseos_interfaces::local::LockScope;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{Error, Result, run_cases, wait_until};

/// Fail points, and at which of their hits the agent is killed.
const FAIL_POINTS: &[(&str, &[u32])] = &[
    ("store.before_temp", &[1, 6, 14]),
    ("store.after_temp_fsync", &[1, 7, 15]),
    ("store.before_rename", &[2, 8, 16]),
    ("store.after_rename", &[1, 9, 17]),
    ("checkpoint.before", &[1, 5, 13]),
    ("checkpoint.after", &[1, 4, 12]),
    ("effect.before.Register", &[1]),
    ("effect.after.Register", &[1]),
    ("register.stored", &[1]),
    ("effect.before.Heartbeat", &[1, 5]),
    ("effect.after.Heartbeat", &[1, 5]),
    ("effect.before.ForgetJoinToken", &[1]),
    ("effect.after.ForgetJoinToken", &[1]),
    ("effect.before.Inspect", &[1, 2, 3]),
    ("effect.after.Inspect", &[1, 2, 3]),
    ("effect.before.ApplyTarget", &[1, 2, 3]),
    ("effect.after.ApplyTarget", &[1, 2, 3]),
    ("effect.before.HoldLockFiles", &[1]),
    ("effect.after.HoldLockFiles", &[1]),
    ("effect.before.ReleaseLockFiles", &[1, 2]),
    ("effect.after.ReleaseLockFiles", &[1, 2]),
    ("effect.before.Reply", &[1]),
    ("effect.after.Reply", &[1]),
    ("effect.before.Publish", &[1, 6]),
    ("effect.after.Publish", &[1, 6]),
    ("effect.before.SetPollRate(fast)", &[1, 2]),
    ("effect.after.SetPollRate(fast)", &[1, 2]),
    ("effect.before.SetPollRate(slow)", &[1]),
    ("effect.after.SetPollRate(slow)", &[1]),
];

/// Fail points of an agent that executes commands and is stopped.
const COMMAND_FAIL_POINTS: &[(&str, &[u32])] = &[
    ("effect.before.RestartService", &[1]),
    ("effect.after.RestartService", &[1]),
    ("effect.before.CollectLogs", &[1]),
    ("effect.after.CollectLogs", &[1]),
    ("effect.before.Heartbeat(goodbye)", &[1]),
    ("effect.after.Heartbeat(goodbye)", &[1]),
    ("effect.before.Stop", &[1]),
];

#[tokio::test]
async fn a_kill_at_any_fail_point_does_not_change_the_end_of_an_update() {
    run_with_kills(FAIL_POINTS, lock_update_and_roll_back).await;
}

#[tokio::test]
async fn a_kill_around_a_command_executes_it_at_most_once_and_answers_it_once() {
    run_with_kills(COMMAND_FAIL_POINTS, execute_commands_and_stop).await;
}

/// Runs the scenario once for each hit of each fail point.
async fn run_with_kills(fail_points: &[(&str, &[u32])], scenario: impl AsyncFn(&Fixture) -> Result<()>) {
    if !cfg!(feature = "failpoints") {
        panic!("the agent has no fail points: `cargo test --features failpoints --test program`");
    }
    let scenario = &scenario;
    let cases = fail_points.iter().flat_map(|(name, hits)| {
        hits.iter().map(move |hit| {
            let fail_point = format!("{name}:{hit}");
            (fail_point.clone(), run_with_kill(fail_point, scenario))
        })
    });
    run_cases(cases).await.unwrap();
}

async fn run_with_kill(fail_point: String, scenario: impl AsyncFn(&Fixture) -> Result<()>) -> Result<()> {
    let script = WrapperScript::new();
    script.at_next_start(&format!("export BASEOS_FAILPOINT='{fail_point}'"));
    let fixture = Fixture::start(script.options()).await?;
    scenario(&fixture).await?;
    if !fixture.device.exit_codes("baserunner").contains(&(128 + 9)) {
        let hint = "the agent was not killed: does it hit the fail point this often?";
        return Err(Error::new(hint));
    }
    fixture.check_consistency().await
}

async fn lock_update_and_roll_back(fixture: &Fixture) -> Result<()> {
    take_lock(fixture).await?;
    fixture.desire(V2).await?;
    fixture.wait_update_state(UpdateState::Waiting, V2).await?;
    release_lock(fixture).await?;
    fixture.wait_update_succeeded(V2).await?;
    fixture.desire(BAD).await?;
    fixture
        .wait_update_ended(UpdateState::RolledBack, BAD, V2)
        .await?;
    fixture.wait_runs(V2, LIMIT).await?;
    let ends = (
        fixture.reported_ends(V2).await?,
        fixture.reported_ends(BAD).await?,
    );
    if ends.0 != ["succeeded"] || ends.1 != ["rolled-back"] {
        return Err(Error::new(format!("Cloudly has {ends:?}")));
    }
    // V2 is posted for the update and for the rollback; a kill may make the agent post once more.
    for (commit, needed) in [(V2, 2), (BAD, 1)] {
        let posts = fixture.count_posts(commit);
        if !(needed..=needed + 1).contains(&posts) {
            return Err(Error::new(format!(
                "{commit} was posted {posts} times\n{}",
                fixture.diagnostics()
            )));
        }
    }
    Ok(())
}

/// Tries again: the agent may be killed before, during or after its answer.
async fn take_lock(fixture: &Fixture) -> Result<()> {
    wait_until("the lock is taken", LIMIT, async || {
        let taken = fixture.lock(LockScope::App, 600).await;
        taken.map(drop).map_err(|error| error.to_string())
    })
    .await
}

async fn release_lock(fixture: &Fixture) -> Result<()> {
    wait_until("the lock is released", LIMIT, async || {
        // It may be released although the answer is an error.
        let released = fixture.agent.unlock("backup").await;
        match fixture.agent.locks().await {
            Ok(locks) if locks.locks.is_empty() => Ok(()),
            other => Err(format!("{released:?}, {other:?}")),
        }
    })
    .await
}

async fn execute_commands_and_stop(fixture: &Fixture) -> Result<()> {
    let node = fixture.node().await?;
    let service = "onebox".to_owned();
    for action in [
        CommandAction::RestartService { service },
        CommandAction::CollectLogs { lines: 5 },
    ] {
        let command = CreateCommand {
            action,
            ttl_seconds: None,
        };
        let id = fixture.cloudly.create_command(&node.id, &command).await?.id;
        wait_until("the command has a result", LIMIT, async || {
            let commands = fixture.cloudly.commands(&node.id).await;
            let commands = commands.map_err(|error| error.to_string())?;
            let found = commands.iter().find(|command| command.id == id);
            found
                .and_then(|command| command.result.as_ref())
                .map(drop)
                .ok_or_else(|| format!("{commands:?}"))
        })
        .await?;
    }
    let starts = fixture.device.starts("baserunner");
    fixture.device.terminate("baserunner");
    fixture.wait_agent_started(starts + 1).await?;
    let path = "/v2/applications/1/restart-service";
    let restarts = fixture.device.count_requests("POST", path);
    if restarts > 1 {
        return Err(Error::new(format!("the service was restarted {restarts} times")));
    }
    Ok(())
}
