//! What is decided about nodes on the command line: it is confirmed, and shown.

use crate::support::{COMMIT, Engine, Program, status};

#[tokio::test]
async fn a_decision_is_confirmed_in_one_line_and_one_that_changes_nothing_is_told_apart() {
    let program = Program::start(Engine::Sqlite).await;
    let create = ["token", "create", "--quiet", "--require-approval"];
    let token = program.run_ok(&create).await;
    let id = program.enrol_with(token.trim(), "edge-1").await.id;
    let restore = format!("`cloudly node restore {id}`");
    for (decision, says) in [
        (
            "approve",
            " is approved; what is desired reaches it with its next heartbeat".to_owned(),
        ),
        ("approve", ": nothing to do, it is approved already".to_owned()),
        (
            "suspend",
            format!(" is suspended; its heartbeats are refused until {restore}, and its apps go on"),
        ),
        ("suspend", ": nothing to do, it is suspended already".to_owned()),
        (
            "restore",
            " is restored; its heartbeats are taken again".to_owned(),
        ),
        (
            "restore",
            ": nothing to do, it is neither suspended nor removed".to_owned(),
        ),
        (
            "clear-clone",
            ": nothing to do, it is not suspected to run twice".to_owned(),
        ),
        (
            "remove",
            format!(" is removed; it is told so and its apps go on; {restore} takes it back"),
        ),
        ("remove", ": nothing to do, it is removed already".to_owned()),
        (
            "restore",
            " is restored; its heartbeats are taken again".to_owned(),
        ),
    ] {
        let said = program.run_ok(&["node", decision, &id]).await;
        assert_eq!(said, format!("edge-1 ({id}){says}\n"), "{decision}");
    }
}

#[tokio::test]
async fn a_removed_node_is_listed_when_asked_for_and_has_nothing_to_do() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = program.enrol("edge-1").await;
    program.create_release(COMMIT).await;
    program
        .run_ok(&["desired", "set", "--all", "--commit", COMMIT])
        .await;
    device
        .report(&program, status("idle", None, Some("c0ffee1")))
        .await;
    program.run_ok(&["node", "remove", "edge-1"]).await;
    assert_eq!(
        program.run_ok(&["node", "list"]).await,
        "all nodes were removed: `cloudly node list --removed` shows them\n"
    );
    assert_eq!(program.run_ok(&["node", "list", "--json"]).await, "[]\n");
    let listed = program.run_ok(&["node", "list", "--removed"]).await;
    let row: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[2], row[3], &row[5..]),
        ("removed", "-", &["-", "-", "-"][..]),
        "{listed}"
    );
    let shown = program.run_ok(&["node", "show", &device.id]).await;
    assert!(
        shown.starts_with("edge-1 was removed; its heartbeats are refused"),
        "{shown}"
    );
    for row in ["  desired ", "  works on ", "  presence ", "  last update "] {
        assert!(!shown.contains(row), "{row}: {shown}");
    }
}

#[tokio::test]
async fn a_suspended_node_is_not_called_online_and_is_said_to_be_heard_or_not() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = program.enrol("edge-1").await;
    device.heartbeat(&program).await;
    program.run_ok(&["node", "suspend", "edge-1"]).await;
    let listed = program.run_ok(&["node", "list"]).await;
    let row: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[2], row[3]), ("suspended", "suspended"), "{listed}");
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    let silent = "its heartbeats are refused until it is restored; none has come since then, or since Cloudly's start.";
    assert!(shown.contains(silent) && !shown.contains("online"), "{shown}");
    assert_eq!(device.refused(&program).await.status, 403);
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    assert!(
        shown.contains("until it is restored; the last one came at ") && shown.contains("  last refused "),
        "{shown}"
    );
}
