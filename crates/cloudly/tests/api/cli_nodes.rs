//! What `cloudly node show` says of a node's status.

use crate::support::{COMMIT, Program, status};
use serde_json::json;

#[tokio::test]
async fn node_show_says_that_a_release_whose_images_were_not_replaced_does_not_run() {
    let program = Program::start().await;
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
    let program = Program::start().await;
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
