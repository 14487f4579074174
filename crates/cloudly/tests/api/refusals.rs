//! What a refusal costs: no transaction, and no line of the audit log each. Anybody can cause them.

use crate::each_engine;
use crate::support::{Api, Cloudly, Device, Engine, Program, forged, metrics};
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::{Settings, mint};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::{Value, json};

const WRITES: &str = "cloudly_database_writes_total";

/// The audited refusals, newest first.
async fn audited(cloudly: &Cloudly) -> Vec<Value> {
    let lines = cloudly.audit().await.into_iter();
    lines
        .filter(|(action, _)| action.ends_with(".refused"))
        .map(|(_, data)| data)
        .collect()
}

async fn refuse(cloudly: &Cloudly, token: &str, registrations: &[&str]) {
    for registration in registrations {
        assert_eq!(cloudly.register(token, registration).await.status(), 401);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_refused_token_begins_no_transaction(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let spent = cloudly.join_token(json!({})).await;
    let mut device = cloudly.register_ok(&spent, "reg-1").await;
    device.heartbeat(&cloudly).await;
    let revoked = cloudly.join_token(json!({})).await;
    let id = Token::parse(TokenKind::Join, &revoked).unwrap().id().to_string();
    let request = cloudly.admin(Method::DELETE, &format!("join-tokens/{id}"));
    assert_eq!(request.send().await.unwrap().status(), 204);
    let expired = cloudly.join_token(json!({ "ttlSeconds": 60 })).await;
    cloudly.clock.advance(60);

    let before = metrics(&cloudly).await[WRITES];
    let unknown = mint(TokenKind::Join).unwrap();
    let wrong = forged(TokenKind::Join, &spent[4..14]);
    for token in [
        "szj_nonsense",
        unknown.expose(),
        wrong.expose(),
        &spent,
        &revoked,
        &expired,
    ] {
        refuse(&cloudly, token, &["reg-2", "reg-3"]).await;
    }
    let mut stranger = Device {
        token: mint(TokenKind::Node).unwrap().expose().to_owned(),
        ..device
    };
    stranger.refused(&cloudly).await;
    assert_eq!(metrics(&cloudly).await[WRITES], before);
}

#[apply(each_engine)]
#[tokio::test]
async fn refusals_of_one_kind_are_one_line_an_hour_with_their_number(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    cloudly
        .register_ok(&token, "reg-1")
        .await
        .heartbeat(&cloudly)
        .await;
    refuse(&cloudly, &token, &["a", "b", "c"]).await;
    let lines = audited(&cloudly).await;
    assert_eq!((lines.len(), &lines[0]["count"]), (1, &json!(3)));
    assert_eq!(
        (&lines[0]["reason"], &lines[0]["registrationId"]),
        (&json!("spent"), &json!("c"))
    );
    refuse(&cloudly, &token, &["d", "e"]).await;
    refuse(&cloudly, "szj_nonsense", &["f"]).await;
    let lines = audited(&cloudly).await;
    assert_eq!((lines.len(), &lines[0]["reason"]), (2, &json!("malformed")));
    cloudly.clock.advance(3600);
    let lines = audited(&cloudly).await;
    assert_eq!((lines.len(), &lines[0]["count"]), (3, &json!(2)));
    assert_eq!(audited(&cloudly).await.len(), 3);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_late_node_that_is_refused_again_and_again_is_one_line(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    let mut late = cloudly.register_ok(&token, "reg-1").await;
    cloudly.clock.advance(16 * 60);
    cloudly
        .register_ok(&token, "reg-2")
        .await
        .heartbeat(&cloudly)
        .await;
    for _ in 0..3 {
        assert_eq!(late.refused(&cloudly).await.code, "nodeTokenInvalid");
    }
    let lines = audited(&cloudly).await;
    assert_eq!((lines.len(), &lines[0]["count"]), (1, &json!(3)));
    assert_eq!(lines[0]["reason"], "joinTokenUseGivenBack");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_clean_stop_loses_no_refusal(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    refuse(&cloudly, "szj_nonsense", &["a", "b"]).await;
    cloudly.restart().await;
    assert_eq!(audited(&cloudly).await[0]["count"], 2);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_use_that_is_to_be_given_back_admits_the_next_node(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({})).await;
    cloudly.register_ok(&token, "reg-1").await;
    refuse(&cloudly, &token, &["reg-2"]).await;
    cloudly.clock.advance(15 * 60);
    assert_eq!(cloudly.register(&token, "reg-2").await.status(), 201);
    // The first one was given back, and is refused without taking the other's use.
    refuse(&cloudly, &token, &["reg-1"]).await;
}

/// Registers with a wrong token, as a proxy passes it on.
async fn refused_from(cloudly: &Api, forwarded: &str) -> u16 {
    let body = json!({
        "protocolVersion": 1, "joinToken": "szj_nonsense", "registrationId": "reg-1",
        "node": { "name": "edge", "agentVersion": "0.1.0" },
    });
    let request = cloudly
        .http
        .post(format!("{}/baseos/v1/nodes/register", cloudly.url));
    let request = request.header("X-Forwarded-For", forwarded).json(&body);
    request.send().await.unwrap().status().as_u16()
}

#[apply(each_engine)]
#[tokio::test]
async fn wrong_tokens_behind_a_trusted_proxy_count_by_the_address_that_it_names(engine: Engine) {
    let limit = |settings: &mut Settings| settings.failure_rate.burst = 1;
    let cloudly = Cloudly::start_with(engine, limit).await;
    assert_eq!(refused_from(&cloudly, "192.0.2.1").await, 401);
    assert_eq!(
        refused_from(&cloudly, "192.0.2.2").await,
        429,
        "anybody may say so"
    );

    let cloudly = Cloudly::start_with(engine, |settings| {
        settings.failure_rate.burst = 1;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    assert_eq!(refused_from(&cloudly, "192.0.2.1").await, 401);
    assert_eq!(refused_from(&cloudly, "198.51.100.9, 192.0.2.1").await, 429);
    assert_eq!(refused_from(&cloudly, "192.0.2.2").await, 401);
    assert_eq!(audited(&cloudly).await[0]["address"], "192.0.2.2");
}

#[tokio::test]
async fn a_trusted_proxy_that_names_no_address_is_said_once_and_counts_as_its_client() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let program = Program::start_with(Engine::Sqlite, |_, command| {
        command
            .env("CLOUDLY_TRUSTED_PROXIES", "127.0.0.1")
            .args(["--log", "warn"])
            .stderr(log.reopen().unwrap());
    })
    .await;
    for forwarded in ["192.0.2.1", "192.0.2.1, unknown", "_hidden"] {
        assert_eq!(refused_from(&program, forwarded).await, 401);
    }
    let audited: Value = program.get("audit").await;
    assert_eq!(audited["items"][0]["data"]["address"], "127.0.0.1");
    program.stop().await;
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("X-Forwarded-For").count(), 1, "{log}");
    assert!(log.contains("127.0.0.1") && log.contains("unknown"), "{log}");
}
