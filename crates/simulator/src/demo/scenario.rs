//! The steps of the demo.

use crate::screen::Screen;
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::running::Running;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::{BlockerKind, NodeStatus};
use baseos_simulator::clock::{Clock, sleep};
use baseos_simulator::device::OnLine;
use baseos_simulator::harness::{Error, Programs, Result, TestRelease, Testbed, TestbedOptions};
use baseos_simulator::supervisor::{Behaviour, Image};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const V1: &str = "a1a1a1a1a1a1a1a1";
const V2: &str = "b2b2b2b2b2b2b2b2";
const V3: &str = "c3c3c3c3c3c3c3c3";
const V4: &str = "d4d4d4d4d4d4d4d4";
/// An agent that ends as soon as it is started.
const BROKEN_AGENT: &str = "/bin/false";
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(programs: Programs, screen: &Arc<Screen>, once: bool) -> Result<()> {
    screen.step("Starting Cloudly (SQLite) and a simulated device that was delivered with release 1.0.0");
    let mut options = TestbedOptions::new(programs.clone());
    options.first_release = TestRelease::new(V1, "1.0.0", "onebox:1");
    options.on_line = Some(show_transitions(Arc::clone(screen)));
    // Slow enough to be watched.
    let options = options
        .with_image("onebox:2", Image::new(Behaviour::Runs, 3000))
        .with_agent_program("baserunner:broken", Path::new(BROKEN_AGENT))
        .with_agent_variable("BASEOS_GUARD_BUDGET", "5s");
    let testbed = Testbed::start(options).await?;
    screen.detail("cloudly", testbed.cloudly.url());
    screen.detail("device", &testbed.device.supervisor_url());

    screen.step("The agent enrols with a join token that is valid for one node");
    let node = watch(&testbed, screen, "the node is enrolled and reports", |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.running() == Some(V1))
    })
    .await?;
    screen.success(&format!("{} is {}, running {}", node.name, node.id, short(V1)));

    screen.step(
        "Onebox takes a local lock because a backup is running; release 2.0.0 becomes the desired release",
    );
    let releases = [
        TestRelease::new(V1, "1.0.0", "onebox:1"),
        TestRelease::new(V2, "2.0.0", "onebox:2"),
    ];
    for release in &releases {
        testbed.publish(release).await?;
    }
    let lock = LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 600,
        scope: LockScope::App,
    };
    testbed.agent.lock("backup", &lock).await?;
    testbed.set_desired(Some(V2), testbed.quick_policy()).await?;
    watch(&testbed, screen, "the update waits for the lock", |node| {
        node.status.as_ref().is_some_and(|status| {
            status
                .update
                .blocked_by
                .iter()
                .any(|blocker| blocker.kind == BlockerKind::LocalLock)
        })
    })
    .await?;
    screen.success("the update waits: nothing is changed while Onebox holds its lock");

    screen.step("Onebox releases the lock");
    testbed.agent.unlock("backup").await?;
    watch(&testbed, screen, "release 2.0.0 runs", |node| {
        update_ended(node, UpdateState::Succeeded, V2)
    })
    .await?;
    screen.success("release 2.0.0 runs and stayed healthy; the agent was not restarted");

    screen
        .step("Release 3.0.0 becomes the desired release; its Onebox crashes half a second after each start");
    testbed
        .publish(&TestRelease::new(V3, "3.0.0", "onebox:crashes"))
        .await?;
    testbed.set_desired(Some(V3), testbed.quick_policy()).await?;
    watch(&testbed, screen, "release 3.0.0 is rolled back", |node| {
        update_ended(node, UpdateState::RolledBack, V2)
    })
    .await?;
    testbed.wait_runs(V2, LIMIT).await?;
    screen.success(
        "rolled back: the Supervisor reported Onebox as running all the time, but its log showed the crash loop",
    );

    screen.step("Release 4.0.0 becomes the desired release; its agent ends as soon as it is started");
    let broken = TestRelease::new(V4, "4.0.0", "onebox:2").with_agent_image("baserunner:broken");
    testbed.publish(&broken).await?;
    testbed.set_desired(Some(V4), testbed.quick_policy()).await?;
    watch(&testbed, screen, "the guard brings the device back", |node| {
        let target = node
            .status
            .as_ref()
            .and_then(|status| status.update.target.as_deref());
        target == Some(V4) && update_ended(node, UpdateState::RolledBack, V2)
    })
    .await?;
    testbed.wait_runs(V2, LIMIT).await?;
    screen.success(
        "the agent could not go back by itself; its guard, a second service of the proven image, put release 2.0.0 back",
    );

    summary(&testbed, screen).await?;
    if once {
        screen.success("every step succeeded");
        return Ok(());
    }
    show_commands(&programs, &testbed, screen);
    std::future::pending().await
}

fn update_ended(node: &NodeRecord, state: UpdateState, running: &str) -> bool {
    node.status
        .as_ref()
        .is_some_and(|status| status.update.state == state && status.running() == Some(running))
}

/// The first digits of a commit.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// Shows the transitions in the agent's log: `… INFO … idle -> staging (desiredChanged) …`.
fn show_transitions(screen: Arc<Screen>) -> OnLine {
    Arc::new(move |service, line| {
        if let Some(start) = line.find("the guard").filter(|_| service == GUARD_SERVICE) {
            return screen.detail("guard", &line[start..]);
        }
        let Some(start) = line.find(" INFO ").filter(|_| service == "baserunner") else {
            return;
        };
        let words: Vec<&str> = line[start..].split_whitespace().collect();
        let arrow = words.iter().position(|word| *word == "->");
        if let Some(arrow) = arrow
            && let Some(words) = arrow.checked_sub(1).and_then(|from| words.get(from..from + 4))
        {
            screen.detail("agent", &words.join(" "));
        }
    })
}

/// Shows what changes until the node fulfils a condition.
async fn watch(
    testbed: &Testbed,
    screen: &Screen,
    expected: &str,
    condition: impl Fn(&NodeRecord) -> bool,
) -> Result<NodeRecord> {
    let clock = Clock::start();
    let mut shown = (String::new(), String::new());
    loop {
        if let Ok(status) = testbed.agent.status().await
            && status.summary != shown.0
        {
            screen.detail("agent", &status.summary);
            shown.0 = status.summary;
        }
        if let Ok(node) = testbed.node().await {
            let line = describe(&node);
            if line != shown.1 {
                screen.detail("cloudly", &line);
                shown.1 = line;
            }
            if condition(&node) {
                return Ok(node);
            }
        }
        if clock.now() > LIMIT {
            return Err(Error::new(format!(
                "{expected}: not within a minute\n{}",
                testbed.diagnostics()
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn describe(node: &NodeRecord) -> String {
    let Some(status) = &node.status else {
        return format!("{} has not reported yet", node.name);
    };
    let update = &status.update;
    let percent = update
        .progress_percent
        .map(|percent| format!(", {percent} %"))
        .unwrap_or_default();
    let blocked: Vec<&str> = update
        .blocked_by
        .iter()
        .map(|blocker| blocker.kind.as_str())
        .collect();
    let blocked = if blocked.is_empty() {
        String::new()
    } else {
        format!(", blocked by {}", blocked.join(", "))
    };
    let running = running_in_words(status);
    let update = update.target.as_deref().map_or_else(
        || "no update yet".to_owned(),
        |target| format!("update to {} {}", short(target), update.state),
    );
    format!(
        "agent {}, {running}, {update}{percent}{blocked}",
        status.agent.state
    )
}

fn running_in_words(status: &NodeStatus) -> String {
    match Running::from(status) {
        Running::Release(commit) => format!("runs {}", short(commit)),
        Running::Nothing => "runs nothing yet".to_owned(),
        Running::NotKnown => "what runs is not known at the moment".to_owned(),
    }
}

async fn summary(testbed: &Testbed, screen: &Screen) -> Result<()> {
    screen.step("Result");
    let node = testbed.node().await?;
    let Some(status) = &node.status else { return Ok(()) };
    let running = running_in_words(status);
    screen.detail("node", &format!("{} ({}): {running}", node.name, node.id));
    for (name, service) in status.release.iter().flat_map(|release| &release.services) {
        screen.detail("service", &format!("{name}: {}", service.status));
    }
    if let Some(error) = &status.update.error {
        let evidence = error.evidence.join(", ");
        screen.detail("why", &format!("{}: {} ({evidence})", error.code, error.message));
    }
    for issue in &status.health.issues {
        let detail = issue
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        screen.detail("issue", &format!("{}{detail}", issue.code));
    }
    Ok(())
}

fn show_commands(programs: &Programs, testbed: &Testbed, screen: &Screen) {
    screen.step("Everything runs until Ctrl-C. Commands to try:");
    let token = testbed.cloudly.admin_token_file();
    let admin = format!("{}/baseos/v1/admin", testbed.cloudly.url());
    let run = testbed.device.run_dir();
    for command in [
        format!(
            "{} status --run-dir {}",
            programs.baserunner.display(),
            run.display()
        ),
        format!(
            "{} node show simulated-device --url {} --token-file {}",
            programs.cloudly.display(),
            testbed.cloudly.url(),
            token.display()
        ),
        format!(
            "curl -s -H \"Authorization: Bearer $(cat {})\" {admin}/nodes",
            token.display()
        ),
        format!("curl -s {}/v2/state/status", testbed.device.supervisor_url()),
        format!("curl -s {}/sim/state", testbed.device.control_url()),
        format!(
            "curl -s --unix-socket {run}/api.sock -H \"Authorization: Bearer $(cat {run}/token)\" http://localhost/v1/status",
            run = run.display()
        ),
        format!(
            "tail -f {}",
            testbed.device.dir().join("log/baserunner.log").display()
        ),
    ] {
        screen.detail("$", &command);
    }
}
