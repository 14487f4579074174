//! The story the demo tells.

use crate::screen::Screen;
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::clock::{Clock, sleep};
use baseos_simulator::device::OnLine;
use baseos_simulator::harness::{Error, Programs, Result, Stage, StageOptions, Version};
use baseos_simulator::supervisor::{Behaviour, Image};
use std::sync::Arc;
use std::time::Duration;

const V1: &str = "a1a1a1a1a1a1a1a1";
const V2: &str = "b2b2b2b2b2b2b2b2";
const V3: &str = "c3c3c3c3c3c3c3c3";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn tell(programs: Programs, screen: &Arc<Screen>, once: bool) -> Result<()> {
    screen
        .step("Starting Cloudly (SQLite) and a simulated device that runs release 1.0.0, delivered with it");
    let mut options = StageOptions::new(programs.clone());
    options.first = Version::new(V1, "1.0.0", "onebox:1");
    options.on_line = Some(transitions(Arc::clone(screen)));
    // Slow enough to be watched.
    options.registry = options
        .registry
        .with("onebox:2", Image::new(Behaviour::Runs, 3000));
    let stage = Stage::start(options).await?;
    screen.seen("cloudly", stage.cloudly.url());
    screen.seen("device", &stage.device.supervisor_url());

    screen.step("The agent enrols with a join token that is good for one node");
    let node = watch(&stage, screen, "the node is enrolled and reports", |node| {
        let status = node.status.as_ref();
        status.is_some_and(|status| status.release.running.as_deref() == Some(V1))
    })
    .await?;
    screen.good(&format!("{} is {}, running {}", node.name, node.id, short(V1)));

    screen.step("Onebox takes a local lock (a backup is running); release 2.0.0 is desired");
    let versions = [
        Version::new(V1, "1.0.0", "onebox:1"),
        Version::new(V2, "2.0.0", "onebox:2"),
    ];
    for version in &versions {
        stage.publish(version).await?;
    }
    let lock = LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 600,
        scope: LockScope::App,
    };
    stage.agent.lock("backup", &lock).await?;
    stage.desire(Some(V2), stage.quick_policy()).await?;
    watch(&stage, screen, "the update waits for the lock", |node| {
        node.status.as_ref().is_some_and(|status| {
            status
                .update
                .blocked_by
                .iter()
                .any(|blocker| blocker.kind == BlockerKind::LocalLock)
        })
    })
    .await?;
    screen.good("the update waits: nothing is touched while Onebox holds its lock");

    screen.step("Onebox gives the lock back");
    stage.agent.unlock("backup").await?;
    watch(&stage, screen, "release 2.0.0 is in place", |node| {
        is(node, UpdateState::Succeeded, V2)
    })
    .await?;
    screen.good("release 2.0.0 runs and stayed healthy; the agent itself was not restarted");

    screen.step(
        "Release 3.0.0 is desired; its Onebox ends half a second after each start, and is started again",
    );
    stage
        .publish(&Version::new(V3, "3.0.0", "onebox:crashes"))
        .await?;
    stage.desire(Some(V3), stage.quick_policy()).await?;
    watch(&stage, screen, "release 3.0.0 is rolled back", |node| {
        is(node, UpdateState::RolledBack, V2)
    })
    .await?;
    stage.wait_runs(V2, PATIENCE).await?;
    screen.good(
        "rolled back: the Supervisor called it running all the while; its log gave the crash loop away",
    );

    summary(&stage, screen).await?;
    if once {
        screen.good("everything went as it should");
        return Ok(());
    }
    invite(&programs, &stage, screen);
    std::future::pending().await
}

fn is(node: &NodeRecord, state: UpdateState, running: &str) -> bool {
    node.status.as_ref().is_some_and(|status| {
        status.update.state == state && status.release.running.as_deref() == Some(running)
    })
}

/// A commit as people read it.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// Shows the agent's own lines about its moves: `… INFO … idle -> staging (desiredChanged) …`.
fn transitions(screen: Arc<Screen>) -> OnLine {
    Arc::new(move |service, line| {
        let Some(start) = line.find(" INFO ").filter(|_| service == "baserunner") else {
            return;
        };
        let words: Vec<&str> = line[start..].split_whitespace().collect();
        let arrow = words.iter().position(|word| *word == "->");
        if let Some(arrow) = arrow
            && let Some(words) = arrow.checked_sub(1).and_then(|from| words.get(from..from + 4))
        {
            screen.seen("agent", &words.join(" "));
        }
    })
}

/// Shows what changes until something is so.
async fn watch(
    stage: &Stage,
    screen: &Screen,
    what: &str,
    is_so: impl Fn(&NodeRecord) -> bool,
) -> Result<NodeRecord> {
    let clock = Clock::start();
    let mut shown = (String::new(), String::new());
    loop {
        if let Ok(status) = stage.agent.status().await
            && status.summary != shown.0
        {
            screen.seen("agent", &status.summary);
            shown.0 = status.summary;
        }
        if let Ok(node) = stage.node().await {
            let line = line(&node);
            if line != shown.1 {
                screen.seen("cloudly", &line);
                shown.1 = line;
            }
            if is_so(&node) {
                return Ok(node);
            }
        }
        if clock.now() > PATIENCE {
            return Err(Error::because(format!(
                "{what}: not after a minute\n{}",
                stage.diagnostics()
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn line(node: &NodeRecord) -> String {
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
    let running = status.release.running.as_deref().map_or("nothing yet", short);
    let update = update.target.as_deref().map_or_else(
        || "no update yet".to_owned(),
        |target| format!("update to {} {}", short(target), update.state),
    );
    format!(
        "agent {}, runs {running}, {update}{percent}{blocked}",
        status.agent.state
    )
}

async fn summary(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.step("How it ended");
    let node = stage.node().await?;
    let Some(status) = &node.status else { return Ok(()) };
    let running = status.release.running.as_deref().map_or("nothing", short);
    screen.seen("node", &format!("{} ({}) runs {running}", node.name, node.id));
    for (name, service) in &status.release.services {
        screen.seen("service", &format!("{name}: {}", service.status));
    }
    if let Some(error) = &status.update.error {
        let evidence = error.evidence.join(", ");
        screen.seen("why", &format!("{}: {} ({evidence})", error.code, error.message));
    }
    for issue in &status.health.issues {
        let detail = issue
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        screen.seen("issue", &format!("{}{detail}", issue.code));
    }
    Ok(())
}

fn invite(programs: &Programs, stage: &Stage, screen: &Screen) {
    screen.step("Everything stays up until Ctrl-C. To try:");
    let token = stage.cloudly.admin_token_file();
    let admin = format!("{}/baseos/v1/admin", stage.cloudly.url());
    let run = stage.device.run_dir();
    for command in [
        format!(
            "{} status --run-dir {}",
            programs.baserunner.display(),
            run.display()
        ),
        format!(
            "{} node show simulated-device --url {} --token-file {}",
            programs.cloudly.display(),
            stage.cloudly.url(),
            token.display()
        ),
        format!(
            "curl -s -H \"Authorization: Bearer $(cat {})\" {admin}/nodes",
            token.display()
        ),
        format!("curl -s {}/v2/state/status", stage.device.supervisor_url()),
        format!("curl -s {}/sim/state", stage.device.control_url()),
        format!(
            "curl -s --unix-socket {run}/api.sock -H \"Authorization: Bearer $(cat {run}/token)\" http://localhost/v1/status",
            run = run.display()
        ),
        format!(
            "tail -f {}",
            stage.device.dir().join("log/baserunner.log").display()
        ),
    ] {
        screen.seen("$", &command);
    }
}
