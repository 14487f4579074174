//! No token reaches the log, however much is logged.

use crate::each_engine;
use crate::support::{Engine, Program};
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::mint;
use rstest_reuse::apply;
use serde_json::json;
use std::fs::{self, File};

#[apply(each_engine)]
#[tokio::test]
async fn no_token_is_logged_at_trace_level_even_from_wrong_places(engine: Engine) {
    let configured = Token::mint(TokenKind::Join, |bytes| bytes.fill(7));
    let cloudly = Program::start_with(engine, |dir, command| {
        command
            .args(["--log", "trace"])
            .env("CLOUDLY_BASEOS_JOIN_TOKEN", configured.expose())
            .stderr(File::create(dir.path().join("log")).unwrap());
    })
    .await;
    let join = cloudly.join_token(json!({})).await;
    let unknown = mint(TokenKind::Join).unwrap().expose().to_owned();
    let mut device = cloudly.register_ok(&join, "reg-1").await;
    cloudly.register(&join, "reg-2").await;
    cloudly.register(&unknown, "reg-3").await;
    cloudly.register(&join[..40], "reg-4").await;
    device.heartbeat(&cloudly).await;
    cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    let next = device.rotated_token(&cloudly).await;
    let old = std::mem::replace(&mut device.token, next.clone());
    device.heartbeat(&cloudly).await;
    let mut wrong = device.clone();
    wrong.token.clone_from(&old);
    wrong.refused(&cloudly).await;
    // In the URL, in the query, as a member that is a number, and as the whole body.
    let _ = cloudly.http.get(format!("{}/{join}", cloudly.url)).send().await;
    let _ = cloudly
        .http
        .get(format!("{}/healthz?token={join}", cloudly.url))
        .send()
        .await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let _ = cloudly
        .http
        .post(&url)
        .json(&json!({ "protocolVersion": join }))
        .send()
        .await;
    let _ = cloudly.http.post(&url).json(&join).send().await;
    let admin = cloudly.admin_token.clone();
    let dir = cloudly.stop().await;

    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    for part in ["node.registered", "sqlx::query"] {
        assert!(log.contains(part), "{part}");
    }
    for token in [&join, &unknown, &old, &next, &admin, configured.expose()] {
        let secret = &token[15..58];
        let leak = log.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None);
    }
}
