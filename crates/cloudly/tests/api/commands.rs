//! Commands for nodes, and the rotation of node tokens that one of them asks for.

use crate::each_engine;
use crate::support::{Cloudly, Engine};
use baseos_interfaces::admin::{CommandRecord, Page};
use baseos_interfaces::command::{CommandAction, CommandState};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

fn result(id: &str, state: &str) -> Value {
    json!({ "id": id, "state": state, "finishedAt": "2026-11-23T12:00:05Z", "message": "done" })
}

#[apply(each_engine)]
#[tokio::test]
async fn a_command_is_sent_until_its_result_arrives_and_the_first_result_counts(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let request = json!({ "type": "restartService", "params": { "service": "onebox" } });
    let sent = cloudly.command(&device, request).await;
    for _ in 0..2 {
        let commands = device.heartbeat(&cloudly).await.instructions.commands;
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].id, sent.id);
        assert_eq!(
            commands[0].action,
            CommandAction::RestartService {
                service: "onebox".to_owned()
            }
        );
    }
    let answer = device
        .heartbeat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "failed")] }),
        )
        .await;
    assert!(answer.instructions.commands.is_empty());
    device
        .heartbeat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    let page: Page<CommandRecord> = cloudly.get(&format!("nodes/{}/commands", device.id)).await;
    assert_eq!(page.items[0].result.as_ref().unwrap().state, CommandState::Failed);
}

#[apply(each_engine)]
#[tokio::test]
async fn an_expired_command_is_not_sent(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    cloudly
        .command(&device, json!({ "type": "reboot", "ttlSeconds": 60 }))
        .await;
    cloudly.clock.advance(60);
    assert!(device.heartbeat(&cloudly).await.instructions.commands.is_empty());
}

#[apply(each_engine)]
#[tokio::test]
async fn a_result_from_another_node_is_ignored(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (mut one, mut other) = (cloudly.enrol("one").await, cloudly.enrol("other").await);
    let sent = cloudly.command(&one, json!({ "type": "checkNow" })).await;
    other
        .heartbeat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    assert_eq!(one.heartbeat(&cloudly).await.instructions.commands.len(), 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn rotation_sends_one_new_token_until_its_use_invalidates_the_old_one(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    let sent = cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    let first = device.heartbeat(&cloudly).await.credentials.unwrap();
    let again = device.heartbeat(&cloudly).await.credentials.unwrap();
    assert_eq!(first.node_token.expose(), again.node_token.expose());
    let mut old = device.clone();
    device.token = first.node_token.expose().to_owned();
    let answer = device.heartbeat(&cloudly).await;
    assert!(answer.credentials.is_none(), "the device has it");
    assert!(
        answer.instructions.commands.is_empty(),
        "the use of the token is the result"
    );
    assert_eq!(old.refused(&cloudly).await.code, "nodeTokenInvalid");
    device
        .heartbeat_with(
            &cloudly,
            json!({ "commandResults": [result(&sent.id, "succeeded")] }),
        )
        .await;
    assert!(device.heartbeat(&cloudly).await.instructions.commands.is_empty());
}

#[apply(each_engine)]
#[tokio::test]
async fn rotation_issues_another_token_after_a_restart(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    device.heartbeat(&cloudly).await.credentials.unwrap();
    cloudly.restart().await;
    device.token = device.rotated_token(&cloudly).await;
    assert!(device.heartbeat(&cloudly).await.credentials.is_none());
}

#[apply(each_engine)]
#[tokio::test]
async fn an_unknown_command_and_params_it_does_not_take_are_refused_with_what_is_known(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/commands", device.id);
    for (request, says) in [
        (
            json!({ "type": "selfDestruct" }),
            "restartService (params.service)",
        ),
        (
            json!({ "type": "restartService" }),
            "service is the name of a service",
        ),
    ] {
        let refused = cloudly.refused(Method::POST, &path, request).await;
        assert_eq!(refused.status, 422);
        assert!(refused.title.contains(says), "{}", refused.title);
    }
    let request = json!({ "type": "collectLogs", "params": { "lines": 501 } });
    assert_eq!(
        cloudly.refused(Method::POST, &path, request).await.errors[0].pointer,
        "/params/lines"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn the_number_of_waiting_commands_is_limited(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/commands", device.id);
    for _ in 0..32 {
        cloudly.command(&device, json!({ "type": "checkNow" })).await;
    }
    assert_eq!(
        cloudly
            .refused(Method::POST, &path, json!({ "type": "checkNow" }))
            .await
            .status,
        409
    );
}
