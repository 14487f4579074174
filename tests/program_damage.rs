//! A disk that does not keep what was written to it, has no room, or is used by two.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod program;

use baseos_interfaces::admin::CreateJoinToken;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::{Stage, read_state};
use program::launcher::Launcher;
use program::{Deeds as _, PATIENCE, V1, V2, agent_command, posts};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What happens to a file, in the shell: `$F` is its path.
const DAMAGES: [&str; 7] = [
    "truncate -s 0 $F",
    "truncate -s 1 $F",
    "truncate -s 100 $F",
    "truncate -s $(($(stat -c %s $F) / 2)) $F",
    "truncate -s -1 $F",
    "head -c 4096 /dev/urandom >$F",
    "printf '{\"version\":1}' >$F",
];

#[tokio::test]
async fn a_damaged_state_file_gives_way_to_the_one_before_it() {
    let launcher = Launcher::new("");
    let stage = Stage::start(launcher.options()).await.unwrap();
    let node = stage.settle().await.unwrap();
    for damage in DAMAGES {
        launcher.once(&format!("F=$BASEOS_STATE_DIR/state.json; {damage}"));
        let starts = stage.device.starts("baserunner");
        stage.device.kill("baserunner");
        let status = stage.wait_started(starts + 1).await.unwrap();
        assert_eq!(status.node_id.as_deref(), Some(node.id.as_str()), "{damage}");
        let said = stage.device.log_tail("baserunner", 100);
        assert!(said.contains("the newest state was unusable"), "{damage}: {said}");
        // There has to be a whole generation before the next one is damaged.
        let revision = stage.want(V1).await.unwrap();
        stage
            .wait_node("it works on", PATIENCE, |node| node.observed_revision == revision)
            .await
            .unwrap();
    }
    stage.assert_sound().await;
}

#[tokio::test]
async fn with_both_state_files_damaged_it_says_so_and_enrols_no_second_node() {
    let stage = Stage::start(program::options()).await.unwrap();
    stage.settle().await.unwrap();
    let token = stage
        .cloudly
        .create_join_token(&CreateJoinToken::default())
        .await
        .unwrap();
    let other = tempfile::tempdir().unwrap();
    let (state, run) = (other.path().join("state"), other.path().join("run"));
    std::fs::create_dir_all(&state).unwrap();
    for name in ["state.json", "state.json.previous"] {
        let whole = std::fs::read(stage.state_dir().join(name)).unwrap();
        std::fs::write(state.join(name), &whole[..whole.len() / 2]).unwrap();
    }
    let ended = agent_command(&state, &run)
        .env("BASEOS_CLOUDLY_URL", stage.cloudly.url())
        .env("BASEOS_JOIN_TOKEN", token.token.expose())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(70), "{said}");
    assert!(
        said.contains("no usable state") && said.contains("Restore one of them from a backup"),
        "{said}"
    );
    assert_eq!(stage.cloudly.nodes().await.unwrap().len(), 1);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_turned_away() {
    let stage = Stage::start(program::options()).await.unwrap();
    stage.settle().await.unwrap();
    let pid = stage.device.pid("baserunner");
    let run = tempfile::tempdir().unwrap();
    let second = agent_command(&stage.state_dir(), run.path())
        .env("BASEOS_CLOUDLY_URL", stage.cloudly.url())
        .output()
        .await
        .unwrap();
    let said =
        String::from_utf8_lossy(&second.stderr).into_owned() + &String::from_utf8_lossy(&second.stdout);
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(
        said.contains("another baserunner is using the state directory"),
        "{said}"
    );
    // Its socket, too, has one owner.
    let state = tempfile::tempdir().unwrap();
    let third = agent_command(state.path(), &stage.device.run_dir())
        .output()
        .await
        .unwrap();
    assert_eq!(third.status.code(), Some(75), "{third:?}");

    stage.want(V2).await.unwrap();
    stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert_eq!(stage.device.pid("baserunner"), pid, "the first one is unharmed");
    stage.assert_sound().await;
}

/// A file system without room behind the state directory; goes before the stage's directories do.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all room there is, and the room the agent has kept for itself: with that it would write on.
fn fill(dir: &Path) {
    use std::io::Write as _;
    let _ = std::fs::remove_file(dir.join("reserve"));
    let filler = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("filler"));
    let Ok(mut filler) = filler else { return };
    for piece in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![b'x'; piece]).is_ok() {}
    }
}

#[tokio::test]
async fn with_a_full_disk_it_goes_on_says_so_begins_nothing_and_recovers() {
    let launcher = Launcher::new("");
    launcher.once("mount -t tmpfs -o size=4m,mode=700 baseos-test $BASEOS_STATE_DIR");
    let mut options = launcher.options();
    // The state's own trouble is the subject, not the reserve for images.
    options
        .agent_environment
        .insert("BASEOS_RESERVE_BYTES".to_owned(), "0".to_owned());
    let stage = Stage::start(options).await.unwrap();
    let small = Small(stage.state_dir());
    stage.settle().await.unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        mounts.contains(&small.0.display().to_string()),
        "this test has to mount a tmpfs: run it as root"
    );

    let lock = LockRequest {
        reason: "no room".into(),
        ttl_seconds: 600,
        scope: LockScope::Reboot,
    };
    let told = stage.wait_node("Cloudly hears of it", PATIENCE, |node| {
        program::has_issue(node, "stateNotWritable")
    });
    let filling = async {
        loop {
            fill(&small.0);
            // Something that has to be remembered.
            let _ = stage.agent.lock("room", &lock).await;
            let _ = stage.agent.unlock("room").await;
        }
    };
    tokio::select! {
        told = told => drop(told.unwrap()),
        () = filling => {}
    }
    fill(&small.0);
    stage.want(V2).await.unwrap();
    stage
        .wait_node("the update waits for room", PATIENCE, |node| {
            let update = node.status.as_ref().map(|status| &status.update);
            update.is_some_and(|update| {
                let mut blocked = update.blocked_by.iter();
                blocked.any(|blocker| blocker.kind == BlockerKind::StateNotWritable)
            })
        })
        .await
        .unwrap();
    let refused = stage.agent.lock("room", &lock).await.unwrap_err().to_string();
    assert!(
        refused.contains("503"),
        "a lock that would be forgotten is not given: {refused}"
    );
    assert!(
        stage.agent.locks().await.unwrap().locks.is_empty(),
        "what was refused holds nothing"
    );
    assert_eq!(posts(&stage, V2), 0);
    assert!(read_state(&small.0).is_ok(), "the old state stays whole");

    std::fs::remove_file(small.0.join("filler")).unwrap();
    let node = stage.wait_ended(UpdateState::Succeeded, V2, V2).await.unwrap();
    assert!(!program::has_issue(&node, "stateNotWritable"));
    assert_eq!(
        stage.device.starts("baserunner"),
        1,
        "it never had to be restarted"
    );
    stage.assert_sound().await;
}
