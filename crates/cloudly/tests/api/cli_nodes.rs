//! What `cloudly node show` says of a node's status.

use crate::support::{COMMIT, Engine, Program, forged, status};
use baseos_interfaces::terminal::is_hidden;
use baseos_interfaces::token::TokenKind;
use serde_json::json;

#[tokio::test]
async fn node_show_says_that_a_release_whose_images_were_not_replaced_does_not_run() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    let mut failed = status("failed", Some(COMMIT), Some(COMMIT));
    failed["update"]["error"] = json!({
        "code": "imageNotReplaced", "message": "the Supervisor took another image", "at": "2026-11-23T12:00:00Z",
    });
    device.hash = "f".to_owned();
    device.heartbeat_with(&program, json!({ "status": failed })).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    let expected = format!(
        "edge-1 does not run release {COMMIT}, although its Supervisor calls it applied: the Supervisor took another image."
    );
    assert_eq!(shown.lines().next().unwrap(), expected);
}

#[tokio::test]
async fn node_show_lists_images_that_are_no_longer_needed_and_what_to_do() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    let mut idle = status("idle", None, Some(COMMIT));
    idle["release"]["unusedImages"] =
        json!([{ "image": "onebox:1", "sizeBytes": 3_145_728 }, { "image": "old:1" }]);
    device.hash = "u".to_owned();
    device.heartbeat_with(&program, json!({ "status": idle })).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    for row in [
        "  unused image onebox:1 (3 MiB)\n",
        "  unused image old:1\n",
        "               to free their space run `balena image rm IMAGE` on the host;",
    ] {
        assert!(shown.contains(row), "{row:?} in {shown}");
    }
}

#[tokio::test]
async fn node_show_says_which_service_an_operator_stopped() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    let mut stopped = status("idle", None, Some(COMMIT));
    stopped["release"]["services"] = json!({
        "db": { "status": "exited" }, "onebox": { "status": "exited", "stoppedByOperator": true },
    });
    device.report(&program, stopped).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    for row in [
        "  service      db: exited\n",
        "  service      onebox: exited, stopped by an operator, until `cloudly node command NODE startService`\n",
    ] {
        assert!(shown.contains(row), "{row:?} in {shown}");
    }
}

#[tokio::test]
async fn what_a_node_reports_does_not_reach_the_terminal_as_control_characters() {
    const EVIL: &str = "\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}";
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    for state in ["idle", "waiting", "applying", "failed", "rolled-back"] {
        let mut evil = status(state, Some(EVIL), Some(EVIL));
        evil["update"]["error"] = json!({ "code": EVIL, "message": EVIL, "at": "2026-11-23T12:00:00Z" });
        evil["release"]["version"] = json!(EVIL);
        evil["release"]["services"] = json!({ EVIL: { "image": EVIL, "status": EVIL } });
        evil["os"]["name"] = json!(EVIL);
        evil["health"] = json!({ "state": "ok", "issues": [{ "code": EVIL, "since": "2026-11-23T12:00:00Z", "detail": EVIL }] });
        device.report(&program, evil).await;
        for command in [&["node", "show", "edge-1"][..], &["node", "list"]] {
            let shown = program.run_ok(command).await;
            assert!(shown.contains("[2J"), "{shown:?}");
            let json = program.run_ok(&[command, &["--json"]].concat()).await;
            assert!(json.contains(r"\u009B31m\u202E\u2066\u200B\u2028"), "{json:?}");
            for text in [shown, json] {
                let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
                assert_eq!(hidden, None, "{state}: {text:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_release_that_is_not_taken_up_or_known_to_be_bad_is_shown_as_that() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    program.create_release(COMMIT).await;
    program
        .run_ok(&["desired", "set", "--all", "--commit", COMMIT])
        .await;
    device
        .report(&program, status("idle", None, Some("c0ffee1")))
        .await;
    let list = program.run_ok(&["node", "list"]).await;
    let (_, expected) = list.rsplit_once("  not taken up yet: asked ").unwrap();
    assert!(
        expected.contains(" ago; expected with its next heartbeat, within "),
        "{list}"
    );
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    let first = shown.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("edge-1 has not taken up release {COMMIT} yet (asked "))
            && first.ends_with("); it runs release c0ffee1."),
        "{first}"
    );
    device.report(&program, status("idle", None, Some(COMMIT))).await;
    let list = program.run_ok(&["node", "list"]).await;
    assert!(list.ends_with("  idle\n"), "{list}");
    let mut failed = status("failed", Some(COMMIT), Some("c0ffee1"));
    failed["update"]["phaseSince"] = json!("2026-11-24T12:00:00Z");
    failed["update"]["error"] =
        json!({ "code": "healthCheckFailed", "message": "onebox exits", "at": "2026-11-23T12:00:00Z" });
    device.report(&program, failed).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    let expected = format!(
        "edge-1 does not try release {COMMIT}: it is known to be bad since 2026-11-23T12:00:00Z (onebox exits); a forced \
         order (`cloudly desired set --force`) tries it again; it runs release c0ffee1."
    );
    assert_eq!(shown.lines().next().unwrap(), expected);
}

#[tokio::test]
async fn nothing_is_promised_to_go_to_a_suspended_node() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let device = program.enrol_with(token.trim(), "edge-1").await;
    program.run_ok(&["node", "suspend", "edge-1"]).await;
    for command in [
        &["node", "command", "edge-1", "checkNow"][..],
        &["node", "logs", "edge-1"],
    ] {
        let error = program.run_err(command).await;
        let restore = format!(
            "is suspended: nothing is sent to it until `cloudly node restore {}`",
            device.id
        );
        assert!(error.contains(&restore), "{error}");
    }
}

#[tokio::test]
async fn two_nodes_with_one_name_are_both_named() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program
        .run_ok(&["token", "create", "--quiet", "--uses", "2"])
        .await;
    for registration in ["registration-1", "registration-2"] {
        program.register_ok(token.trim(), registration).await;
    }
    let error = program.run_err(&["node", "show", "edge"]).await;
    assert!(
        error.contains("several nodes are named") && !error.contains('…'),
        "{error}"
    );
}

#[tokio::test]
async fn node_refused_lists_devices_with_unknown_tokens_and_what_brings_them_back() {
    let program = Program::start(Engine::Sqlite).await;
    let none = program.run_ok(&["node", "refused"]).await;
    assert_eq!(none, "no device was refused in the last 30 min\n");
    let mut device = program.enrol("edge-1").await;
    let (known, unknown) = (device.token.clone(), forged(TokenKind::Node, "unknown001"));
    device.token = unknown.expose().to_owned();
    for _ in 0..2 {
        assert_eq!(device.refused(&program).await.status, 401);
    }
    let listed = program.run_ok(&["node", "refused"]).await;
    let row = listed.lines().nth(1).unwrap();
    assert!(
        row.starts_with("unknown001  127.0.0.1 ") && row.ends_with(" 2"),
        "{listed}"
    );
    assert!(
        listed.contains("`baserunner join TOKEN` on the device brings it back"),
        "{listed}"
    );
    let json = program.run_ok(&["node", "refused", "--json"]).await;
    assert!(
        json.contains("\"count\": 2") && !json.contains(unknown.expose()),
        "{json}"
    );
    device.token = known;
    device.heartbeat(&program).await;
}

#[tokio::test]
async fn a_node_that_has_seen_a_later_revision_is_told_apart_with_what_to_do() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = program.enrol("edge-1").await;
    program.set_target(COMMIT).await;
    device.observed = 7;
    device.report(&program, status("idle", None, Some(COMMIT))).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    assert!(
        shown.contains("works on     revision 7, which is not known here"),
        "{shown}"
    );
    assert!(shown.contains("until the next `cloudly desired set`"), "{shown}");
    let listed = program.run_ok(&["node", "list"]).await;
    assert!(listed.contains("seen a later revision"), "{listed}");
    device.observed = 1;
    device.heartbeat(&program).await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    assert!(shown.contains("works on     revision 1\n"), "{shown}");
}
