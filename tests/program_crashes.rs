//! SIGKILL at every place where it could hurt, in the middle of enrolment, an update, a lease and a rollback.
//!
//! Each case is the whole story with the agent killed once. Afterwards the agent runs on without being killed, and
//! everything must have come to the same end as without the kill.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::admin::CreateCommand;
use baseos_interfaces::command::CommandAction;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{Error, Result, Stage, wait_until};
use futures_util::StreamExt as _;
use program::launcher::Launcher;
use program::{BAD, Deeds as _, PATIENCE, V2, posts};

/// Every place, and at which of its hits the agent dies there. A new fail point is one line.
const PLACES: &[(&str, &[u32])] = &[
    ("store.before_temp", &[1, 6, 14]),
    ("store.after_temp_fsync", &[1, 7, 15]),
    ("store.before_rename", &[2, 8, 16]),
    ("store.after_rename", &[1, 9, 17]),
    ("checkpoint.before", &[1, 5, 13]),
    ("checkpoint.after", &[1, 4, 12]),
    ("effect.before.Register", &[1]),
    ("effect.after.Register", &[1]),
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
    ("effect.before.Watch(brisk)", &[1, 2]),
    ("effect.after.Watch(brisk)", &[1, 2]),
    ("effect.before.Watch(calm)", &[1]),
    ("effect.after.Watch(calm)", &[1]),
];

/// Stories told at a time; they wait most of it.
const AT_ONCE: usize = 14;

/// The same for a device that only gets commands and is stopped.
const PLACES_OF_COMMANDS: &[(&str, &[u32])] = &[
    ("effect.before.RestartService", &[1]),
    ("effect.after.RestartService", &[1]),
    ("effect.before.CollectLogs", &[1]),
    ("effect.after.CollectLogs", &[1]),
    ("effect.before.Heartbeat(goodbye)", &[1]),
    ("effect.after.Heartbeat(goodbye)", &[1]),
    ("effect.before.Stop", &[1]),
];

#[tokio::test]
async fn a_kill_anywhere_changes_nothing_about_the_end() {
    each(PLACES, tell).await;
}

#[tokio::test]
async fn a_kill_around_a_command_executes_it_once_at_most_and_answers_it_once() {
    each(PLACES_OF_COMMANDS, tell_of_commands).await;
}

async fn each(places: &[(&str, &[u32])], story: impl AsyncFn(&str) -> Result<()>) {
    let cases = places
        .iter()
        .flat_map(|(place, hits)| hits.iter().map(move |hit| format!("{place}:{hit}")));
    let told = futures_util::stream::iter(cases).map(async |fail_point| {
        let told = story(&fail_point).await;
        told.err().map(|error| format!("=== {fail_point}: {error}"))
    });
    let told: Vec<_> = told
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(told.is_empty(), "{} of them:\n{}", told.len(), told.join("\n"));
}

async fn tell(fail_point: &str) -> Result<()> {
    let launcher = Launcher::new("");
    launcher.once(&format!("export BASEOS_FAILPOINT='{fail_point}'"));
    let stage = Stage::start(launcher.options()).await?;
    stage.settle().await?;
    take_lease(&stage).await?;
    stage.want(V2).await?;
    stage.wait_phase(UpdateState::Waiting, V2).await?;
    give_lease_back(&stage).await?;
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await?;
    stage.want(BAD).await?;
    stage.wait_ended(UpdateState::RolledBack, BAD, V2).await?;
    stage.wait_runs(V2, PATIENCE).await?;
    was_killed(&stage)?;
    stage.sound().await?;
    let endings = (stage.endings(V2).await?, stage.endings(BAD).await?);
    if endings.0 != ["succeeded"] || endings.1 != ["rolled-back"] {
        return Err(Error::because(format!("Cloudly was told {endings:?}")));
    }
    // V2 once as the update and once as the way back.
    for (commit, needed) in [(V2, 2), (BAD, 1)] {
        let posted = posts(&stage, commit);
        if !(needed..=needed + 1).contains(&posted) {
            return Err(Error::because(format!(
                "{commit} was handed over {posted} times\n{}",
                stage.diagnostics()
            )));
        }
    }
    Ok(())
}

/// The agent may be killed before, while or after it answers: whoever asks asks again.
async fn take_lease(stage: &Stage) -> Result<()> {
    let lock = LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 600,
        scope: LockScope::App,
    };
    wait_until("the lease is taken", PATIENCE, async || {
        let taken = stage.agent.lock("backup", &lock).await;
        taken.map(drop).map_err(|error| error.to_string())
    })
    .await
}

async fn give_lease_back(stage: &Stage) -> Result<()> {
    wait_until("the lease is given back", PATIENCE, async || {
        // An error is an answer too, if the lease is gone.
        let gave = stage.agent.unlock("backup").await;
        match stage.agent.locks().await {
            Ok(locks) if locks.locks.is_empty() => Ok(()),
            other => Err(format!("{gave:?}, {other:?}")),
        }
    })
    .await
}

fn was_killed(stage: &Stage) -> Result<()> {
    if stage.device.exits("baserunner").contains(&(128 + 9)) {
        return Ok(());
    }
    let hint =
        "the agent was not killed: is it built with --features failpoints, and is the place passed so often?";
    Err(Error::because(hint))
}

async fn tell_of_commands(fail_point: &str) -> Result<()> {
    let launcher = Launcher::new("");
    launcher.once(&format!("export BASEOS_FAILPOINT='{fail_point}'"));
    let stage = Stage::start(launcher.options()).await?;
    let node = stage.settle().await?;
    let service = "onebox".to_owned();
    for action in [
        CommandAction::RestartService { service },
        CommandAction::CollectLogs { lines: 5 },
    ] {
        let ttl_seconds = None;
        let command = CreateCommand { action, ttl_seconds };
        let id = stage.cloudly.create_command(&node.id, &command).await?.id;
        wait_until("the command is answered", PATIENCE, async || {
            let commands = stage.cloudly.commands(&node.id).await;
            let commands = commands.map_err(|error| error.to_string())?;
            let mut answered = commands.iter().filter(|command| command.result.is_some());
            answered
                .find(|command| command.id == id)
                .map(drop)
                .ok_or_else(|| format!("{commands:?}"))
        })
        .await?;
    }
    let starts = stage.device.starts("baserunner");
    stage.device.terminate("baserunner");
    stage.wait_started(starts + 1).await?;
    was_killed(&stage)?;
    let restarts = stage.device.count("POST", "/v2/applications/1/restart-service");
    if restarts > 1 {
        return Err(Error::because(format!(
            "the service was restarted {restarts} times"
        )));
    }
    stage.sound().await
}
