//! The real program: serving, and operated from its command line.

use crate::support::{COMMIT, Engine, Program, cloudly, output, release, status, write_secret};
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::mint;
use serde_json::{Value, json};
use std::process::Stdio;
use tempfile::TempDir;

#[tokio::test]
async fn a_node_is_operated_from_the_command_line() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let mut device = program.enrol_with(token.trim(), "edge-1").await;
    program
        .run_ok(&[
            "release",
            "create",
            "--no-registry",
            "--commit",
            COMMIT,
            "--version",
            "1.0.0",
            "--service",
            "baserunner=registry.example/baserunner:1",
            "--service",
            "onebox=registry.example/onebox:1",
        ])
        .await;
    let set = [
        "desired",
        "set",
        "--all",
        "--commit",
        COMMIT,
        "--window",
        "sat,sun 01:00 3h Europe/Berlin",
    ];
    assert_eq!(
        program.run_ok(&set).await,
        format!("release {COMMIT} is desired of all nodes (revision 1)\n")
    );

    let mut waiting = status("waiting", Some(COMMIT), None);
    waiting["update"]["blockedBy"] = json!([
        { "kind": "localLock", "holder": "onebox", "reason": "backup running", "since": "2026-11-23T12:00:00Z" }
    ]);
    device.hash = "w".to_owned();
    device
        .heartbeat_with(&program, json!({ "status": waiting }))
        .await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    let first = shown.lines().next().unwrap();
    let expected = format!(
        "edge-1 is ready to update to {COMMIT} and waits for the update lock of onebox (backup running)."
    );
    assert_eq!(first, expected);
    assert!(shown.contains("online"), "{shown}");
    let row = "  blocked by   localLock (onebox: backup running) since 2026-11-23T12:00:00Z\n";
    assert!(shown.contains(row), "{shown}");
    assert!(shown.contains("  state        active\n"), "{shown}");
    let list = program.run_ok(&["node", "list"]).await;
    assert!(list.ends_with("  waiting (localLock)\n"), "{list}");

    device.hash = "s".to_owned();
    device.observed = 1;
    let succeeded = status("succeeded", Some(COMMIT), Some(COMMIT));
    device
        .heartbeat_with(&program, json!({ "status": succeeded }))
        .await;
    let shown = program.run_ok(&["node", "show", &device.id]).await;
    assert!(
        shown.starts_with(&format!(
            "edge-1 runs release {COMMIT}, as desired; nothing to do."
        )),
        "{shown}"
    );
    let list = program.run_ok(&["node", "list"]).await;
    assert!(list.contains("edge-1") && list.contains("succeeded"), "{list}");

    let sent = program
        .run_ok(&[
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
        program
            .run_ok(&["node", "commands", "edge-1"])
            .await
            .contains("waiting")
    );
    assert!(
        program
            .run_ok(&["node", "suspend", "edge-1"])
            .await
            .contains(" is suspended; ")
    );
    program.run_ok(&["node", "restore", "edge-1"]).await;
    assert!(
        program
            .run_ok(&["node", "remove", "edge-1"])
            .await
            .contains(" is removed; ")
    );
    let audit = program.run_ok(&["audit", "list"]).await;
    for action in [
        "node.removed",
        "node.suspended",
        "command.created",
        "desired.set",
        "release.created",
    ] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    program.stop().await;
}

#[tokio::test]
async fn token_create_prints_the_token_alone_when_quiet() {
    let program = Program::start(Engine::Sqlite).await;
    let printed = program
        .run_ok(&["token", "create", "--quiet", "--uses", "3", "--ttl", "2h"])
        .await;
    assert!(Token::parse(TokenKind::Join, &printed).is_ok());
    assert_eq!(printed.lines().count(), 1);
    let listed: Value = serde_json::from_str(&program.run_ok(&["token", "list", "--json"]).await).unwrap();
    assert_eq!(listed[0]["maxUses"], 3);
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(
        program.run_ok(&["token", "revoke", id]).await,
        format!("{id} is revoked\n")
    );
}

#[tokio::test]
async fn token_generate_makes_a_token_without_a_server() {
    let dir = TempDir::new().unwrap();
    let output = output(cloudly(&dir).args(["token", "generate"])).await;
    assert!(Token::parse(TokenKind::Join, &String::from_utf8(output.stdout).unwrap()).is_ok());
}

#[tokio::test]
async fn a_release_is_created_from_a_file_with_all_its_members() {
    let program = Program::start(Engine::Sqlite).await;
    let mut release = release(COMMIT);
    let agent = release["services"]["baserunner"].take();
    release["services"] = json!({ "edge": agent });
    release["agentService"] = json!("edge");
    let file = program.dir.path().join("release.json");
    std::fs::write(file, release.to_string()).unwrap();
    let created = program
        .run_ok(&[
            "release",
            "create",
            "--no-registry",
            "--file",
            "release.json",
            "--json",
        ])
        .await;
    let created: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(created["agentService"], "edge");
    assert_eq!(created["volumes"], json!({ "baseos": {} }));
}

#[tokio::test]
async fn lists_print_json_or_say_that_they_are_empty() {
    let program = Program::start(Engine::Sqlite).await;
    for list in [
        ["node", "list"],
        ["token", "list"],
        ["release", "list"],
        ["audit", "list"],
    ] {
        let json = program.run_ok(&[list[0], list[1], "--json"]).await;
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            json!([]),
            "{list:?}"
        );
    }
    assert!(
        program
            .run_ok(&["node", "list"])
            .await
            .contains("there are no nodes yet")
    );
}

#[tokio::test]
async fn failures_print_a_sentence_and_exit_with_an_error() {
    let program = Program::start(Engine::Sqlite).await;
    let error = program
        .run_err(&[
            "release",
            "create",
            "--no-registry",
            "--commit",
            "1234567",
            "--service",
            "a=b",
        ])
        .await;
    assert!(
        error.starts_with("cloudly: a commit needs at least one of the letters"),
        "{error}"
    );
    let errors: Vec<_> = error.lines().skip(1).collect();
    let [commit, services] = errors[..] else {
        panic!("{error}")
    };
    assert!(
        commit.starts_with("  /commit: a commit needs at least one of the letters"),
        "{commit}"
    );
    assert!(
        services.starts_with("  /services: the release lacks the service `baserunner`"),
        "{services}"
    );
    let error = program
        .run_err(&[
            "release",
            "create",
            "--no-registry",
            "--commit",
            "1234567",
            "--service",
            "baserunner=b",
        ])
        .await;
    assert_eq!(error.lines().count(), 1, "{error}");
    let error = program.run_err(&["node", "show", "nobody"]).await;
    assert_eq!(error, "cloudly: there is no node with the id or name `nobody`\n");
    let error = program
        .run_err(&["desired", "set", "--all", "--commit", COMMIT])
        .await;
    assert!(error.contains("create it first"), "{error}");
    let error = program
        .run_err(&["desired", "set", "--all", "--commit", "123"])
        .await;
    assert!(error.contains("a commit is 7 to 64 hex digits"), "{error}");
    let error = program.run_err(&["desired", "set"]).await;
    assert!(error.contains("--commit"), "{error}");
    let error = program
        .run_err(&["node", "list", "--token-file", "nowhere"])
        .await;
    let whole = program.dir.path().canonicalize().unwrap().join("nowhere");
    assert!(
        error.contains(&whole.display().to_string()) && error.contains("--token-file"),
        "{error}"
    );
    let other = mint(TokenKind::Admin).unwrap();
    write_secret(program.dir.path().join("other"), other.expose());
    let error = program.run_err(&["node", "list", "--token-file", "other"]).await;
    assert!(error.contains("not accepted"), "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let program = Program::start(Engine::Sqlite).await;
    let output = output(cloudly(&program.dir).args(["node", "list", "--url", "http://127.0.0.1:1"])).await;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("cloudly: no answer from http://127.0.0.1:1/"),
        "{error}"
    );
}

#[tokio::test]
async fn serve_says_why_it_cannot_start() {
    let dir = TempDir::new().unwrap();
    for (args, text) in [
        (
            ["--database-url", "postgres://me:secret@127.0.0.1:1/cloudly"],
            "the database postgres://me@127.0.0.1:1/cloudly: ",
        ),
        (
            ["--database-url", "sqlite:nowhere/c.db"],
            "make the directory first: `install -d -m 700 /",
        ),
        (
            ["--baseos-join-token", "szj_typo"],
            "CLOUDLY_BASEOS_JOIN_TOKEN: a token has 64 characters",
        ),
    ] {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let output = output(cloudly(&dir).args(serve).args(args)).await;
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn empty_variables_count_as_not_set() {
    let program = Program::start_with(Engine::Sqlite, |_, command| {
        for variable in [
            "CLOUDLY_BASEOS_JOIN_TOKEN",
            "CLOUDLY_ADMIN_TOKEN_FILE",
            "CLOUDLY_TOKEN_PEPPER_FILE",
        ] {
            command.env(variable, "");
        }
        command.stderr(Stdio::null());
    })
    .await;
    for file in ["admin-token", "token-pepper"] {
        assert!(program.dir.path().join(file).exists());
    }
}
