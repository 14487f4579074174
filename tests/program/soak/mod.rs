//! Random updates under random faults, for minutes: whatever happens, each update ends as its release deserves, once, and
//! the invariants of [`Fixture::check_consistency`] hold. No secret gets into a log.
//!
//! `tests/soak --minutes N --seed S` runs it alone, for longer.

mod disturb;
mod plan;

use crate::fixture::{Fixture, LIMIT, V1, release};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::clock::Clock;
use baseos_simulator::harness::{Error, Result, TestRelease, ensure, wait_until};
use disturb::Soak;
use plan::{Episode, Plan, Release};
use std::time::Duration;

const DEFAULT_MINUTES: f64 = 1.5;
/// Until an update has ended when everything works again.
const END_WITHIN: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "the settings of a test")]
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}: `{value}` is not a number")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_under_random_faults_end_as_their_releases_deserve() {
    let minutes = variable("SOAK_MINUTES").unwrap_or(DEFAULT_MINUTES);
    let seed = variable("SOAK_SEED").or_else(|| variable("PROPTEST_RNG_SEED"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    println!("soak: {minutes} minutes, SOAK_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let script = WrapperScript::with_every_start(disturb::SHELL);
    script.at_next_start("mount -t tmpfs -o size=8m,mode=700 baseos-test $BASEOS_STATE_DIR");
    let options = script
        .options()
        .with_agent_variable("BASEOS_RESERVE_BYTES", "0")
        .with_agent_variable("DONT_FAKE_MONOTONIC", "1")
        .with_agent_variable("SOAK_DIR", &dir.path().display().to_string());
    let fixture = Fixture::start_without_releases(options).await.unwrap();
    fixture.publish(&release(V1)).await.unwrap();
    fixture.desire(V1).await.unwrap();
    fixture.wait_update_succeeded(V1).await.unwrap();
    let mut soak = Soak::new(fixture, script, dir.path());
    let mut running = V1.to_owned();
    let clock = Clock::start();
    for episode in Plan::new(seed) {
        if clock.now().as_secs_f64() > minutes * 60.0 {
            println!("soak: {} updates", episode.number - 1);
            break;
        }
        println!("{episode}");
        running = run_episode(&mut soak, &episode, running)
            .await
            .unwrap_or_else(|error| panic!("SOAK_SEED={seed}\n{episode}\n{error}"));
    }
}

/// Returns the release that runs then.
async fn run_episode(soak: &mut Soak, episode: &Episode, running: String) -> Result<String> {
    soak.fixture.device.clear_requests();
    soak.fixture.publish(&test_release(&episode.release)).await?;
    if let Some((_, next)) = &episode.superseded {
        soak.fixture.publish(&test_release(next)).await?;
    }
    soak.disturb(episode).await?;
    soak.end_all().await?;
    let running = wait_end(&soak.fixture, episode, &running).await?;
    check_outcome_was_reported_once(&soak.fixture, episode).await?;
    // The agent may just be starting again.
    wait_until("the invariants hold", LIMIT, async || {
        let checked = soak.fixture.check_consistency().await;
        checked
            .and_then(|()| soak.check_logs())
            .map_err(|error| error.to_string())
    })
    .await?;
    Ok(running)
}

/// Alternating images, so that each update replaces Onebox.
fn test_release(release: &Release) -> TestRelease {
    if release.is_bad {
        // A crash loop would show in the Supervisor's log alone, and seldom in the second that these releases are watched
        // once the engine waits longer between two starts.
        return TestRelease::new(&release.commit, "0.0.1", "onebox:breaks");
    }
    let last_digit_is_odd = release
        .commit
        .as_bytes()
        .last()
        .is_some_and(|digit| digit % 2 == 1);
    let image = if last_digit_is_odd { "onebox:2" } else { "onebox:3" };
    TestRelease::new(&release.commit, "1.0.0", image)
}

/// Waits for the end of the last update. A good release runs then. A bad one was left for the one that ran before, and so
/// was a good one if the agent was restarted more than once meanwhile, which counts against it.
async fn wait_end(fixture: &Fixture, episode: &Episode, before: &str) -> Result<String> {
    let last = episode.last();
    let expected = format!("{} ended", last.commit);
    let mut possible_before = vec![before.to_owned()];
    if episode.superseded.is_some() && !episode.release.is_bad {
        possible_before.push(episode.release.commit.clone());
    }
    let node = fixture
        .wait_node(&expected, END_WITHIN, |node| has_ended(node, &last.commit))
        .await?;
    let status = node.status.ok_or_else(|| Error::new("no status"))?;
    let running = status.release.unwrap_or_default().running.unwrap_or_default();
    let succeeded = status.update.state == UpdateState::Succeeded && running == last.commit;
    let left = status.update.state == UpdateState::RolledBack && possible_before.contains(&running);
    let may_be_left = last.is_bad || episode.agent_restarts() > 1;
    if (succeeded && !last.is_bad) || (left && may_be_left) {
        fixture.wait_runs(&running, LIMIT).await?;
        return Ok(running);
    }
    Err(Error::new(format!(
        "{} ended as {}, {running} runs (before: {before}): {:?}\n{}",
        last.commit,
        status.update.state,
        status.update.error,
        fixture.diagnostics()
    )))
}

fn has_ended(node: &NodeRecord, commit: &str) -> bool {
    node.status.as_ref().is_some_and(|status| {
        let update = &status.update;
        let ended = [
            UpdateState::Succeeded,
            UpdateState::RolledBack,
            UpdateState::Failed,
        ];
        // An agent that has just started may not have looked at the Supervisor yet.
        let is_seen = status
            .release
            .as_ref()
            .is_some_and(|release| release.running.is_some());
        is_seen && update.target.as_deref() == Some(commit) && ended.contains(&update.state)
    })
}

async fn check_outcome_was_reported_once(fixture: &Fixture, episode: &Episode) -> Result<()> {
    let commit = &episode.last().commit;
    wait_until("the end is reported once", LIMIT, async || {
        let ends = fixture
            .reported_ends(commit)
            .await
            .map_err(|error| error.to_string())?;
        ensure(ends.len() == 1, || format!("Cloudly has {ends:?}"))
    })
    .await
}
