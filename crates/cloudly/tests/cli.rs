//! The real `cloudly` binary: starts, is operated from the command line, and stops.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::token::{Token, TokenKind};
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use support::{COMMIT, Device, good, status};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

struct Real {
    dir: TempDir,
    server: Child,
    url: String,
}

fn cloudly(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudly"));
    command
        .env_clear()
        .current_dir(dir.path())
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

impl Real {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut server = cloudly(&dir)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .await
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("cloudly listening on ")
            .expect(&line)
            .to_owned();
        Self { dir, server, url }
    }

    async fn run(&self, args: &[&str]) -> Output {
        cloudly(&self.dir)
            .args(args)
            .args(["--url", &self.url])
            .output()
            .await
            .unwrap()
    }

    /// What a command that works prints.
    async fn says(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {error}");
        assert_eq!(error, "", "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that does not work complains of.
    async fn complains(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(output.stdout, b"", "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn stop(mut self) {
        let pid = self.server.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
        assert!(self.server.wait().await.unwrap().success());
    }

    async fn heartbeat(&self, device: &mut Device, more: Value) {
        let beat = device.next(more);
        let url = format!("{}/baseos/v1/nodes/heartbeat", self.url);
        let sent = support::http()
            .post(url)
            .bearer_auth(&device.token)
            .json(&beat)
            .send()
            .await
            .unwrap();
        good::<Value>(sent).await;
    }

    async fn enrol(&self, name: &str) -> Device {
        let token = self.says(&["token", "create", "--quiet"]).await;
        let body = json!({
            "protocolVersion": 1, "joinToken": token.trim(), "registrationId": name,
            "node": { "name": name, "agentVersion": "0.1.0" },
        });
        let url = format!("{}/baseos/v1/nodes/register", self.url);
        Device::new(good(support::http().post(url).json(&body).send().await.unwrap()).await)
    }
}

#[tokio::test]
async fn a_fleet_is_operated_from_the_command_line() {
    let real = Real::start().await;
    let mut device = real.enrol("edge-1").await;
    let image = "onebox=registry.example/onebox:1";
    real.says(&[
        "release",
        "create",
        "--commit",
        COMMIT,
        "--version",
        "1.0.0",
        "--service",
        image,
    ])
    .await;
    let set = [
        "desired",
        "set",
        "--commit",
        COMMIT,
        "--window",
        "sat,sun 01:00 3h Europe/Berlin",
    ];
    assert_eq!(
        real.says(&set).await,
        format!("release {COMMIT} is desired of all nodes (revision 1)\n")
    );

    let mut waiting = status("waiting", Some(COMMIT), None);
    waiting["update"]["blockedBy"] = json!([
        { "kind": "localLock", "holder": "onebox", "reason": "backup running", "since": "2026-11-23T12:00:00Z" }
    ]);
    device.hash = "w".to_owned();
    real.heartbeat(&mut device, json!({ "status": waiting })).await;
    let shown = real.says(&["node", "show", "edge-1"]).await;
    let first = shown.lines().next().unwrap();
    let expected = format!(
        "edge-1 is ready to update to {COMMIT} and waits for the update lock of onebox (backup running)."
    );
    assert_eq!(first, expected);
    assert!(shown.contains("online"), "{shown}");

    device.hash = "s".to_owned();
    device.observed = 1;
    real.heartbeat(
        &mut device,
        json!({ "status": status("succeeded", Some(COMMIT), Some(COMMIT)) }),
    )
    .await;
    let shown = real.says(&["node", "show", &device.id]).await;
    assert!(
        shown.starts_with(&format!(
            "edge-1 runs release {COMMIT}, as desired; nothing to do."
        )),
        "{shown}"
    );
    let list = real.says(&["node", "list"]).await;
    assert!(list.contains("edge-1") && list.contains("succeeded"), "{list}");

    let sent = real
        .says(&[
            "node",
            "command",
            "edge-1",
            "restartService",
            "--service",
            "onebox",
        ])
        .await;
    assert!(sent.contains("cmd_"), "{sent}");
    assert!(
        real.says(&["node", "commands", "edge-1"])
            .await
            .contains("waiting")
    );
    assert!(
        real.says(&["node", "suspend", "edge-1"])
            .await
            .contains("is suspended")
    );
    real.says(&["node", "restore", "edge-1"]).await;
    assert!(
        real.says(&["node", "remove", "edge-1"])
            .await
            .contains("was removed")
    );
    let audit = real.says(&["audit", "list"]).await;
    for action in [
        "node.removed",
        "node.suspended",
        "command.created",
        "desired.set",
        "release.created",
    ] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    real.stop().await;
}

#[tokio::test]
async fn token_create_prints_the_token_alone_when_quiet() {
    let real = Real::start().await;
    let printed = real
        .says(&["token", "create", "--quiet", "--uses", "3", "--ttl", "2h"])
        .await;
    assert!(Token::parse(TokenKind::Join, &printed).is_ok());
    assert_eq!(printed.lines().count(), 1);
    let listed: Value = serde_json::from_str(&real.says(&["token", "list", "--json"]).await).unwrap();
    assert_eq!(listed[0]["maxUses"], 3);
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(
        real.says(&["token", "revoke", id]).await,
        format!("{id} is revoked\n")
    );
}

#[tokio::test]
async fn token_generate_makes_a_token_without_a_server() {
    let dir = TempDir::new().unwrap();
    let output = cloudly(&dir).args(["token", "generate"]).output().await.unwrap();
    assert!(Token::parse(TokenKind::Join, &String::from_utf8(output.stdout).unwrap()).is_ok());
}

#[tokio::test]
async fn every_list_has_json_for_machines_and_words_for_an_empty_table() {
    let real = Real::start().await;
    for list in [
        ["node", "list"],
        ["token", "list"],
        ["release", "list"],
        ["audit", "list"],
    ] {
        let json = real.says(&[list[0], list[1], "--json"]).await;
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            json!([]),
            "{list:?}"
        );
    }
    assert!(
        real.says(&["node", "list"])
            .await
            .contains("there are no nodes yet")
    );
}

#[tokio::test]
async fn errors_are_sentences_and_the_exit_code_says_so() {
    let real = Real::start().await;
    let error = real
        .complains(&["release", "create", "--commit", "1234567", "--service", "a=b"])
        .await;
    assert!(
        error.starts_with("cloudly: a commit needs at least one of the letters"),
        "{error}"
    );
    let error = real.complains(&["node", "show", "nobody"]).await;
    assert_eq!(error, "cloudly: there is no node with the id or name `nobody`\n");
    let error = real.complains(&["desired", "set", "--commit", COMMIT]).await;
    assert!(error.contains("create it first"), "{error}");
    let error = real.complains(&["desired", "set"]).await;
    assert!(error.contains("--commit"), "{error}");
    let error = real.complains(&["node", "list", "--token-file", "nowhere"]).await;
    assert!(error.contains("nowhere"), "{error}");
    std::fs::write(real.dir.path().join("garbage"), "garbage").unwrap();
    let error = real.complains(&["node", "list", "--token-file", "garbage"]).await;
    assert!(error.contains("holds no admin token"), "{error}");
    let other = cloudly_baseos::mint(TokenKind::Admin).unwrap();
    std::fs::write(real.dir.path().join("other"), other.expose()).unwrap();
    let error = real.complains(&["node", "list", "--token-file", "other"]).await;
    assert!(error.contains("not accepted"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let real = Real::start().await;
    let output = cloudly(&real.dir)
        .args(["node", "list", "--url", "http://127.0.0.1:1"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("cloudly: no answer from http://127.0.0.1:1/"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = TempDir::new().unwrap();
    for (args, words) in [
        (
            ["--database-url", "postgres://db/cloudly"],
            "PostgreSQL is not in this version",
        ),
        (
            ["--database-url", "sqlite:nowhere/c.db"],
            "cannot open the database nowhere/c.db",
        ),
        (
            ["--baseos-join-token", "szj_typo"],
            "CLOUDLY_BASEOS_JOIN_TOKEN: a token has 64 characters",
        ),
    ] {
        let output = cloudly(&dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .output()
            .await
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn variables_that_are_set_to_nothing_count_as_not_set() {
    let dir = TempDir::new().unwrap();
    let mut server = cloudly(&dir)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("CLOUDLY_BASEOS_JOIN_TOKEN", "")
        .env("CLOUDLY_ADMIN_TOKEN_FILE", "")
        .env("CLOUDLY_TOKEN_PEPPER_FILE", "")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    assert!(
        line.starts_with("cloudly listening on http://127.0.0.1:"),
        "{line}"
    );
    assert!(dir.path().join("admin-token").exists());
}
