//! The agent as a user without rights of its own, as in its image. The simulated device gives its containers their users,
//! which only root can.

use crate::fixture::{Fixture, LIMIT, V1, V2, has_issue, options, release};
use baseos_interfaces::local::LockScope;
use baseos_simulator::harness::{Error, Result, TestRelease};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const USER: u32 = 10001;
const AS_USER: &str = "10001:10001";
const AS_ROOT: &str = "0:0";

async fn start() -> Result<Fixture> {
    assert!(rustix::process::geteuid().is_root(), "run this as root");
    let mut options = options();
    options.first_release = release(V1).with_agent_user(AS_USER);
    let fixture = Fixture::start_without_releases(options).await?;
    update(&fixture, release(V1).with_agent_user(AS_USER)).await?;
    Ok(fixture)
}

/// Applies a release and waits until its image is the guard's too.
async fn update(fixture: &Fixture, release: TestRelease) -> Result<()> {
    fixture.publish(&release).await?;
    fixture.desire(&release.commit).await?;
    fixture.wait_update_succeeded(&release.commit).await?;
    fixture.wait_guard(&release.agent_image, &release.commit).await?;
    fixture.wait_runs(&release.commit, LIMIT).await
}

fn agents_user(fixture: &Fixture) -> Result<u32> {
    let pid = fixture.device.pid("baserunner");
    let pid = pid.ok_or_else(|| Error::new("the agent does not run"))?;
    Ok(std::fs::metadata(format!("/proc/{pid}"))?.uid())
}

/// The files of the state directory that do not belong to the agent's own user.
fn foreign_files(fixture: &Fixture) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(fixture.state_dir())? {
        let entry = entry?;
        if entry.metadata()?.uid() != USER {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_agent_moves_from_its_user_to_root_and_back_with_its_state() {
    let fixture = start().await.unwrap();
    let node = fixture.node().await.unwrap().id;
    for (number, user, uid) in [
        (4, AS_ROOT, 0),
        (5, AS_USER, USER),
        (6, AS_ROOT, 0),
        (7, AS_USER, USER),
    ] {
        let mut next = release(V1)
            .with_agent_user(user)
            .with_agent_image(&format!("baserunner:{number}"));
        next.commit = format!("d{number}").repeat(4);
        update(&fixture, next).await.unwrap();
        assert_eq!(agents_user(&fixture).unwrap(), uid);
        assert_eq!(foreign_files(&fixture).unwrap(), [""; 0], "as {user}");
        assert_eq!(fixture.node().await.unwrap().id, node);
    }
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn lock_files_that_a_reboot_makes_impossible_are_told_and_held_again_after_an_update() {
    let fixture = start().await.unwrap();
    let dir = fixture.device.lock_dir(1, "baserunner");
    let mode = || std::fs::metadata(&dir).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(), 0o1777, "the Supervisor opened it");
    let starts = fixture.device.starts("baserunner");
    fixture.device.power_cycle();
    fixture.wait_agent_started(starts + 1).await.unwrap();
    assert_eq!(mode(), 0o755, "the engine made it for root alone");

    fixture.lock(LockScope::App, 600).await.unwrap();
    let told = fixture.wait_node("the lock files are missing", LIMIT, |node| {
        has_issue(node, "lockFilesNotHeld")
    });
    let issues = told.await.unwrap().status.unwrap().health.issues;
    let issue = issues
        .iter()
        .find(|issue| issue.code == "lockFilesNotHeld")
        .unwrap();
    let detail = issue.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("belongs to user 0 alone"), "{detail}");
    fixture.agent.unlock("backup").await.unwrap();

    update(&fixture, release(V2).with_agent_user(AS_USER))
        .await
        .unwrap();
    fixture.lock(LockScope::App, 600).await.unwrap();
    let held = fixture.wait_node("the lock files are held again", LIMIT, |node| {
        !has_issue(node, "lockFilesNotHeld")
    });
    held.await.unwrap();
    assert_eq!(fixture.lock_files().len(), 2);
}
