//! A state disk that loses data, has no room, or is used by two agents.

use crate::fixture::{
    Fixture, LIMIT, V1, V2, agent_command, has_issue, is_blocked_by, lock_request, options, printed,
};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::local::LockScope;
use baseos_interfaces::status::BlockerKind;
use baseos_simulator::harness::read_state;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Shell code that damages the file `$F`.
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
async fn uses_the_previous_state_when_the_newest_is_damaged() {
    let script = WrapperScript::new();
    let fixture = Fixture::start(script.options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    for damage in DAMAGES {
        script.at_next_start(&format!("F=$BASEOS_STATE_DIR/state.json; {damage}"));
        let starts = fixture.device.starts("baserunner");
        fixture.device.kill("baserunner");
        let status = fixture.wait_agent_started(starts + 1).await.unwrap();
        assert_eq!(status.node_id.as_deref(), Some(node.id.as_str()), "{damage}");
        let log = fixture.device.log_tail("baserunner", 100);
        assert!(
            log.contains("the newest state file cannot be used"),
            "{damage}: {log}"
        );
        // The next damage needs an undamaged previous state: a new revision is stored.
        let revision = fixture.desire(V1).await.unwrap();
        let stored = fixture.wait_node("the new revision", LIMIT, |node| {
            node.observed_revision == revision
        });
        stored.await.unwrap();
    }
    fixture.assert_consistent().await;
}

/// Shell code that changes the stored checkpoint with a `sed` script and makes the checksum right again.
fn change_checkpoint(sed: &str) -> String {
    format!(
        r#"F=$BASEOS_STATE_DIR/state.json; tail -n +2 $F | sed '{sed}' >$F.rest
SUM=$(sha256sum $F.rest | cut -c 1-64)
printf '{{"checksum":"sha256:%s",\n' $SUM | cat - $F.rest >$F.changed; rm $F.rest; mv $F.changed $F"#
    )
}

#[tokio::test]
async fn an_unusable_checkpoint_costs_neither_identity_nor_apps_and_is_reported_once() {
    let script = WrapperScript::new();
    let fixture = Fixture::start(script.options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    let unusable = [
        ("of a newer agent", r#"s/"version":2}/"version":99}/"#),
        ("malformed", r#"s/"epoch":[0-9]*/"epoch":"many"/"#),
    ];
    for (done, (name, sed)) in unusable.into_iter().enumerate() {
        script.at_next_start(&change_checkpoint(sed));
        let starts = fixture.device.starts("baserunner");
        fixture.device.kill("baserunner");
        let status = fixture.wait_agent_started(starts + 1).await.unwrap();
        assert_eq!(status.node_id.as_deref(), Some(node.id.as_str()), "{name}");
        fixture
            .wait_node(name, LIMIT, |node| has_issue(node, "checkpointUnusable"))
            .await
            .unwrap();
        // What is desired comes again from Cloudly; it runs already.
        fixture.wait_update_succeeded(V1).await.unwrap();
        fixture.device.kill("baserunner");
        fixture.wait_agent_started(starts + 2).await.unwrap();
        fixture
            .wait_node("no issue any more", LIMIT, |node| {
                !has_issue(node, "checkpointUnusable")
            })
            .await
            .unwrap();
        let events = fixture.cloudly.events(&node.id).await.unwrap();
        let reports = events
            .iter()
            .filter(|record| record.event.kind == "checkpointUnusable");
        assert_eq!(reports.count(), done + 1, "{name}");
    }
    assert_eq!(fixture.cloudly.nodes().await.unwrap().len(), 1);
    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn with_two_damaged_states_it_exits_70_and_enrols_no_second_node() {
    let fixture = Fixture::start(options()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (state, run) = (dir.path().join("state"), dir.path().join("run"));
    std::fs::create_dir_all(&state).unwrap();
    for name in ["state.json", "state.json.previous"] {
        let whole = std::fs::read(fixture.state_dir().join(name)).unwrap();
        std::fs::write(state.join(name), &whole[..whole.len() / 2]).unwrap();
    }
    let ended = agent_command(&state, &run)
        .env("BASEOS_CLOUDLY_URL", fixture.cloudly.url())
        .env("BASEOS_JOIN_TOKEN", fixture.new_join_token().await)
        .output()
        .await
        .unwrap();
    let text = printed(&ended);
    assert_eq!(ended.status.code(), Some(70), "{text}");
    for part in ["no usable state", "Restore one of them from a backup"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(fixture.cloudly.nodes().await.unwrap().len(), 1);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn a_second_agent_with_the_same_state_or_socket_exits_75() {
    let fixture = Fixture::start(options()).await.unwrap();
    let pid = fixture.device.pid("baserunner");
    let dir = tempfile::tempdir().unwrap();
    let same_state = agent_command(&fixture.state_dir(), dir.path())
        .env("BASEOS_CLOUDLY_URL", fixture.cloudly.url())
        .output()
        .await
        .unwrap();
    let text = printed(&same_state);
    assert_eq!(same_state.status.code(), Some(75), "{text}");
    assert!(
        text.contains("another baserunner is using the state directory"),
        "{text}"
    );
    let other_state = tempfile::tempdir().unwrap();
    let mut command = agent_command(other_state.path(), &fixture.device.run_dir());
    let same_socket = command.output().await.unwrap();
    assert_eq!(same_socket.status.code(), Some(75), "{}", printed(&same_socket));

    fixture.desire(V2).await.unwrap();
    fixture.wait_update_succeeded(V2).await.unwrap();
    assert_eq!(
        fixture.device.pid("baserunner"),
        pid,
        "the first agent was replaced"
    );
    fixture.assert_consistent().await;
}

/// A small file system that is mounted on the state directory.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Uses all room, and the room that the agent has reserved for itself.
pub(crate) fn fill(dir: &Path) {
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
async fn with_a_full_disk_it_runs_on_reports_it_begins_no_update_and_recovers() {
    let script = WrapperScript::new();
    script.at_next_start("mount -t tmpfs -o size=4m,mode=700 baseos-test $BASEOS_STATE_DIR");
    // Only room for the state is missing: no reserve for images.
    let options = script.options().with_agent_variable("BASEOS_RESERVE_BYTES", "0");
    let fixture = Fixture::start_without_releases(options).await.unwrap();
    let mount = Mount(fixture.state_dir());
    fixture.publish_and_apply_v1().await.unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        mounts.contains(&mount.0.display().to_string()),
        "this test has to mount a tmpfs: run it as root"
    );

    let reported = fixture.wait_node("the issue is reported", LIMIT, |node| {
        has_issue(node, "stateNotWritable")
    });
    let lock = lock_request(LockScope::Reboot, 600);
    let fill_and_change_state = async {
        loop {
            fill(&mount.0);
            // The result does not matter: the agent has to store something.
            let _ = fixture.agent.lock("room", &lock).await;
            let _ = fixture.agent.unlock("room").await;
        }
    };
    tokio::select! {
        reported = reported => drop(reported.unwrap()),
        () = fill_and_change_state => {}
    }
    fill(&mount.0);
    fixture.desire(V2).await.unwrap();
    let blocked = fixture.wait_node("the update waits for room", LIMIT, |node| {
        is_blocked_by(node, BlockerKind::StateNotWritable)
    });
    blocked.await.unwrap();
    let refused = fixture.agent.lock("room", &lock).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    let leases = fixture.agent.locks().await.unwrap().locks;
    assert!(leases.is_empty(), "a refused lock is held: {leases:?}");
    assert_eq!(fixture.count_posts(V2), 0);
    assert!(read_state(&mount.0).is_ok(), "the stored state is damaged");

    std::fs::remove_file(mount.0.join("filler")).unwrap();
    let node = fixture.wait_update_succeeded(V2).await.unwrap();
    assert!(!has_issue(&node, "stateNotWritable"));
    assert_eq!(fixture.device.starts("baserunner"), 1, "the agent was restarted");
    fixture.assert_consistent().await;
}

/// A view of the state directory that cannot be written, in place of the directory itself; the agent's lock stays.
fn make_read_only(dir: &Path) -> Mount {
    let path = dir.as_os_str();
    let steps = [
        vec!["--bind".as_ref(), path, path],
        vec!["-o".as_ref(), "remount,ro,bind".as_ref(), path],
    ];
    for step in steps {
        let output = Command::new("mount").args(step).output().unwrap();
        assert!(
            output.status.success(),
            "run this test as root: {}",
            printed(&output)
        );
    }
    Mount(dir.to_owned())
}

#[tokio::test]
async fn with_a_read_only_disk_it_runs_on_reports_it_begins_no_update_and_recovers() {
    let fixture = Fixture::start(options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    let mount = make_read_only(&fixture.state_dir());
    fixture.desire(V2).await.unwrap();
    // The second time it has started with it.
    for starts in 1..=2 {
        if starts == 2 {
            fixture.device.kill("baserunner");
        }
        fixture.wait_agent_started(starts).await.unwrap();
        let reported = fixture.wait_node("the issue is reported", LIMIT, |node| {
            let status = node.status.as_ref();
            has_issue(node, "stateNotWritable")
                && status
                    .is_some_and(|status| status.agent.restart_count + 1 >= u32::try_from(starts).unwrap())
        });
        reported.await.unwrap();
        let lock = lock_request(LockScope::Reboot, 600);
        let refused = fixture.agent.lock("backup", &lock).await.unwrap_err().to_string();
        assert!(refused.contains("503"), "{refused}");
        assert_eq!(fixture.count_posts(V2), 0);
        assert!(fixture.device.runs(V1));
    }
    drop(mount);
    let updated = fixture.wait_update_succeeded(V2).await.unwrap();
    assert!(!has_issue(&updated, "stateNotWritable") && updated.id == node.id);
    assert_eq!(fixture.device.starts("baserunner"), 2, "the agent was restarted");
    fixture.assert_consistent().await;
}
