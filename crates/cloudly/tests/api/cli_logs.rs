//! `cloudly node logs`, and how states are named.

use crate::support::{COMMIT, Device, Engine, Program, status};
use serde_json::{Value, json};

const LOG: &str = "Nov 24 10:00:01 onebox[7]: starting\nNov 24 10:00:02 onebox[7]: ready\u{1b}[2J";

async fn enrolled(program: &Program) -> Device {
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    program.enrol_with(token.trim(), "edge-1").await
}

/// The node answers the command that it is sent, once there is one.
async fn answer(program: &Program, device: &mut Device, state: &str, message: &str) {
    let list = ["--json", "node", "commands", device.id.as_str()].map(str::to_owned);
    let list: Vec<_> = list.iter().map(String::as_str).collect();
    loop {
        let commands: Value = serde_json::from_str(&program.run_ok(&list).await).unwrap();
        if commands[0]["id"].is_string() && commands[0]["result"].is_null() {
            break;
        }
    }
    let sent = device.heartbeat(program).await.instructions.commands;
    let result = json!({
        "id": sent[0].id, "state": state, "finishedAt": "2026-11-24T10:00:03Z", "message": message,
    });
    let results = json!({ "commandResults": [result] });
    device.heartbeat_with(program, results).await;
}

#[tokio::test]
async fn node_logs_asks_the_node_and_prints_lines_without_control_characters() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = enrolled(&program).await;
    let error = program.run_err(&["node", "logs", "edge-1", "--last"]).await;
    assert!(error.contains("leave out --last"), "{error}");
    let (printed, ()) = tokio::join!(
        program.run_ok(&["node", "logs", "edge-1", "--lines", "20"]),
        answer(&program, &mut device, "succeeded", LOG),
    );
    let expected = "Nov 24 10:00:01 onebox[7]: starting\nNov 24 10:00:02 onebox[7]: ready [2J\n";
    assert_eq!(printed, expected);
    assert_eq!(
        program.run_ok(&["node", "logs", "edge-1", "--last"]).await,
        expected
    );
    let json: Value = serde_json::from_str(
        &program
            .run_ok(&["node", "logs", "edge-1", "--last", "--json"])
            .await,
    )
    .unwrap();
    assert_eq!(json["params"]["lines"], 20);
    // One row of the table holds no whole log.
    let table = program.run_ok(&["node", "commands", "edge-1"]).await;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table.contains("starting (and 1 lines: cloudly node logs"),
        "{table}"
    );
}

#[tokio::test]
async fn node_logs_says_why_there_is_none() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = enrolled(&program).await;
    let error = program.run_err(&["node", "logs", "edge-1", "--wait", "1s"]).await;
    assert!(
        error.contains("no answer within 1s") && error.contains("--last"),
        "{error}"
    );
    answer(&program, &mut device, "succeeded", "late").await;
    assert_eq!(
        program.run_ok(&["node", "logs", "edge-1", "--last"]).await,
        "late\n"
    );
    let (error, ()) = tokio::join!(
        program.run_err(&["node", "logs", "edge-1"]),
        answer(&program, &mut device, "failed", "the Supervisor does not answer"),
    );
    assert!(error.contains("the Supervisor does not answer"), "{error}");
}

#[tokio::test]
async fn node_list_and_node_show_name_a_state_alike() {
    let program = Program::start(Engine::Sqlite).await;
    let mut device = enrolled(&program).await;
    for state in [
        "staged",
        "waiting",
        "applying",
        "verifying",
        "succeeded",
        "failed",
        "rollback-needed",
        "rolled-back",
        "cancelled",
        "superseded",
    ] {
        device
            .report(&program, status(state, Some(COMMIT), Some(COMMIT)))
            .await;
        let list = program.run_ok(&["node", "list"]).await;
        let row = list.lines().nth(1).unwrap();
        assert!(row.ends_with(&format!(" {state}")), "{row}");
        let show = program.run_ok(&["node", "show", "edge-1"]).await;
        assert!(show.contains(&format!("{COMMIT} {state}")), "{show}");
    }
}
