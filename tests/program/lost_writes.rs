//! A disk that says that it has written and has not: after a power cut the state of some time before is there again.

use crate::fixture::{Fixture, V1, V2, policy, with_slow_v2};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::desired::Policy;
use baseos_interfaces::local::LockScope;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::harness::{Error, Result, run_cases, stored_node_id};

/// An update in five moments.
const MOMENTS: [UpdateState; 5] = [
    UpdateState::Idle,
    UpdateState::Waiting,
    UpdateState::Applying,
    UpdateState::Verifying,
    UpdateState::Succeeded,
];

const STATES: [&str; 2] = ["state.json", "state.json.previous"];

/// Goes on to a moment of the update to `V2`.
async fn go_on_to(fixture: &Fixture, moment: UpdateState) -> Result<()> {
    match moment {
        UpdateState::Waiting => {
            fixture.lock(LockScope::App, 600).await?;
            let policy = Policy {
                health_seconds: 3,
                ..policy()
            };
            fixture.set_desired(Some(V2), policy).await?;
        }
        UpdateState::Applying => fixture.agent.unlock("backup").await?,
        _ => {}
    }
    if moment == UpdateState::Idle {
        return Ok(());
    }
    fixture.wait_update_state(moment, V2).await.map(drop)
}

/// What was written after the moment `kept` is lost at the moment `cut`.
async fn lose_writes(kept: UpdateState, cut: UpdateState) -> Result<()> {
    let script = WrapperScript::new();
    let fixture = Fixture::start(with_slow_v2(script.options())).await?;
    let id = stored_node_id(&fixture.state_dir())?;
    let copy = tempfile::tempdir()?;
    for moment in MOMENTS {
        go_on_to(&fixture, moment).await?;
        if moment == kept {
            for name in STATES {
                std::fs::copy(fixture.state_dir().join(name), copy.path().join(name))?;
            }
        }
        if moment == cut {
            break;
        }
    }
    let copied = copy.path().display();
    script.at_next_start(&format!("cp {copied}/state.json* $BASEOS_STATE_DIR/"));
    let starts = fixture.device.starts("baserunner");
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(starts + 1).await?;
    if cut == UpdateState::Waiting || kept == UpdateState::Waiting {
        // The lock may be one of the things that were lost, or be there again.
        let _ = fixture.agent.unlock("backup").await;
    }
    fixture.wait_update_succeeded(V2).await?;
    let (ends, posts) = (fixture.reported_ends(V2).await?, fixture.count_posts(V2));
    if ends.is_empty() || ends.iter().any(|end| end != "succeeded") {
        return Err(Error::new(format!("Cloudly has {ends:?}")));
    }
    if posts != 1 || fixture.device.runs(V1) {
        return Err(Error::new(format!(
            "posted {posts} times\n{}",
            fixture.diagnostics()
        )));
    }
    if stored_node_id(&fixture.state_dir())? != id || fixture.cloudly.nodes().await?.len() != 1 {
        return Err(Error::new("it enrolled once more"));
    }
    fixture.check_consistency().await
}

#[tokio::test]
async fn writes_that_a_power_cut_undid_do_not_change_the_end_of_an_update() {
    let mut cases = Vec::new();
    for (at, kept) in MOMENTS.into_iter().enumerate() {
        for cut in MOMENTS.into_iter().skip(at + 1) {
            cases.push((format!("{cut} becomes {kept}"), lose_writes(kept, cut)));
        }
    }
    run_cases(cases).await.unwrap();
}
