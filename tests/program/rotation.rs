//! A change of the node token that is interrupted at each step.

use crate::fixture::{Fixture, LIMIT};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::admin::CreateCommand;
use baseos_interfaces::command::{CommandAction, CommandState};
use baseos_simulator::harness::{Error, Result, ensure, read_state, run_cases, wait_until};

/// Fail points, and how many of their hits from the start of the agent on belong to the change.
const FAIL_POINTS: &[(&str, u32)] = &[
    ("store.before_temp", 4),
    ("store.after_temp_fsync", 4),
    ("store.before_rename", 4),
    ("store.after_rename", 4),
    ("checkpoint.before", 3),
    ("checkpoint.after", 3),
    ("effect.before.Heartbeat", 2),
    ("effect.after.Heartbeat", 2),
];

/// The stored tokens: the current one and the next one.
fn tokens(fixture: &Fixture) -> Result<(Option<String>, Option<String>)> {
    let credentials = read_state(&fixture.state_dir())?["credentials"].clone();
    let text = |name: &str| credentials[name].as_str().map(str::to_owned);
    Ok((text("nodeToken"), text("nextToken")))
}

async fn rotate_with_kill(fail_point: String) -> Result<()> {
    let script = WrapperScript::new();
    let fixture = Fixture::start(script.options()).await?;
    let node = fixture.node().await?;
    let (before, _) = tokens(&fixture)?;
    fixture.device.stop_container("baserunner");
    wait_until("the agent has stopped", LIMIT, async || {
        let pid = fixture.device.pid("baserunner");
        ensure(pid.is_none(), || format!("{pid:?} runs"))
    })
    .await?;
    let command = CreateCommand {
        action: CommandAction::RotateToken {},
        ttl_seconds: None,
    };
    let command = fixture.cloudly.create_command(&node.id, &command).await?;
    script.at_next_start(&format!("export BASEOS_FAILPOINT='{fail_point}'"));
    fixture.device.start_container("baserunner");
    wait_until("the change has succeeded", LIMIT, async || {
        let commands = fixture.cloudly.commands(&node.id).await;
        let commands = commands.map_err(|error| error.to_string())?;
        let found = commands.iter().find(|found| found.id == command.id);
        let result = found.and_then(|found| found.result.as_ref());
        let state = result.map(|result| result.state);
        ensure(state == Some(CommandState::Succeeded), || format!("{commands:?}"))
    })
    .await?;
    // It may come after the change, at the latest when the agent ticks the result off.
    wait_until("the agent was killed", LIMIT, async || {
        let codes = fixture.device.exit_codes("baserunner");
        ensure(codes.contains(&(128 + 9)), || format!("{codes:?}"))
    })
    .await?;
    wait_until("the new token is the only one", LIMIT, async || {
        let (now, next) = tokens(&fixture).map_err(|error| error.to_string())?;
        let changed = now.is_some() && now != before && next.is_none();
        ensure(changed, || format!("a next one is stored: {}", next.is_some()))
    })
    .await?;
    // It is good for one more run.
    let starts = fixture.device.starts("baserunner");
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(starts + 1).await?;
    if fixture.node().await?.id != node.id {
        return Err(Error::new("it is another node now"));
    }
    fixture.check_consistency().await
}

#[tokio::test]
async fn a_kill_at_any_step_of_a_token_rotation_keeps_the_node_in_touch() {
    let cases = FAIL_POINTS.iter().flat_map(|(name, hits)| {
        (1..=*hits).map(move |hit| {
            let fail_point = format!("{name}:{hit}");
            (fail_point.clone(), rotate_with_kill(fail_point))
        })
    });
    run_cases(cases).await.unwrap();
}
