//! What the command line refuses, and what it says when there is nothing to do.

use crate::support::{COMMIT, Engine, Program, cloudly, output, release};
use baseos_interfaces::admin::DesiredRecord;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

#[tokio::test]
async fn a_client_never_advises_to_remove_the_file_it_was_given() {
    let program = Program::start(Engine::Sqlite).await;
    let error = program
        .run_err(&["node", "list", "--token-file", "token-pepper"])
        .await;
    assert!(
        error.contains("token-pepper holds no admin token: an admin token starts with `sza_`"),
        "{error}"
    );
    assert!(
        error.contains("normally `admin-token` beside the database") && !error.contains("remove"),
        "{error}"
    );
    let dir = program.stop().await;
    std::fs::write(dir.path().join("admin-token"), "garbage").unwrap();
    for (args, advice) in [
        (&["serve"][..], "remove the file to get a new one"),
        (
            &["serve", "--token-file", "token-pepper"],
            "give the file that `cloudly serve` made",
        ),
    ] {
        let args = args.iter().chain(&["--listen", "127.0.0.1:0"]);
        let output = output(cloudly(&dir).args(args)).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn the_admin_token_is_sent_over_plain_http_to_this_host_alone_unless_that_is_allowed() {
    let program = Program::start(Engine::Sqlite).await;
    let run = async |url: &str, more: &[&str]| {
        let output = output(
            cloudly(&program.dir)
                .args(["node", "list", "--url", url])
                .args(more),
        )
        .await;
        String::from_utf8(output.stderr).unwrap()
    };
    let port = program.url.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(run(&format!("http://localhost:{port}"), &[]).await, "");
    // Names of the invalid domain lead nowhere.
    for url in [
        "http://cloudly.invalid:8080",
        "http://10.0.0.1:9",
        "http://localhost.invalid",
    ] {
        let error = run(url, &[]).await;
        assert!(
            error.contains("could read the admin token: use https, or `--allow-http`"),
            "{error}"
        );
    }
    let allowed = run("http://cloudly.invalid:8080", &["--allow-http"]).await;
    assert!(
        allowed.contains("no answer from http://cloudly.invalid:8080/"),
        "{allowed}"
    );
}

#[tokio::test]
async fn a_healthcheck_needs_no_token_and_says_why_it_fails() {
    let program = Program::start(Engine::Sqlite).await;
    std::fs::remove_file(program.dir.path().join("admin-token")).unwrap();
    assert_eq!(program.run_ok(&["healthcheck"]).await, "");
    let url = program.url.clone();
    let dir = program.stop().await;
    let output = output(cloudly(&dir).args(["healthcheck", "--url", &url])).await;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("no answer from"), "{error}");
}

#[tokio::test]
async fn files_with_a_mistyped_member_are_refused_with_the_nearest_name() {
    let program = Program::start(Engine::Sqlite).await;
    program.create_release(COMMIT).await;
    std::fs::write(
        program.dir.path().join("policy.json"),
        json!({ "maxAttempt": 9 }).to_string(),
    )
    .unwrap();
    let set = [
        "desired",
        "set",
        "--all",
        "--commit",
        COMMIT,
        "--policy",
        "policy.json",
    ];
    assert_eq!(
        program.run_err(&set).await,
        "cloudly: policy.json: `/maxAttempt` is not known: did you mean `maxAttempts`?\n"
    );
    let mut release = release("77c2d01");
    release["services"]["onebox"]["enviroment"] = json!({});
    std::fs::write(program.dir.path().join("release.json"), release.to_string()).unwrap();
    let create = ["release", "create", "--no-registry", "--file", "release.json"];
    assert_eq!(
        program.run_err(&create).await,
        "cloudly: release.json: `/services/onebox/enviroment` is not known: did you mean `environment`?\n"
    );
    for (method, path, body, pointer) in [
        (Method::POST, "releases", release, "/services/onebox/enviroment"),
        (
            Method::PUT,
            "desired",
            json!({ "commit": COMMIT, "policy": { "maxAttempt": 9 } }),
            "/policy/maxAttempt",
        ),
    ] {
        let refused = program.refused(method, path, body).await;
        assert_eq!(
            (
                refused.errors[0].pointer.as_str(),
                refused.errors[0].code.as_str()
            ),
            (pointer, "unknownMember")
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_named_by_the_option_or_the_member_that_gave_it() {
    let program = Program::start(Engine::Sqlite).await;
    program.create_release(COMMIT).await;
    for (args, says) in [
        (&["token", "create", "--uses", "0"][..], "--uses is 1 to"),
        (&["token", "create", "--ttl", "99d"], "use 1s to 30d"),
        (&["token", "create", "--ttl", "90"], "write 90s or 90m, say"),
        (&["node", "logs", "edge", "--wait", "2d"], "use 1s to 1d"),
        (
            &["node", "command", "edge", "checkNow", "--ttl", "90"],
            "write 90s or 90m, say",
        ),
        (
            &[
                "desired",
                "set",
                "--all",
                "--commit",
                COMMIT,
                "--max-attempts",
                "0",
            ],
            "--max-attempts is 0",
        ),
    ] {
        let error = program.run_err(args).await;
        assert!(error.contains(says), "{error}");
    }
    let policy = json!({ "maxAttempts": 0 }).to_string();
    std::fs::write(program.dir.path().join("policy.json"), policy).unwrap();
    let set = [
        "desired",
        "set",
        "--all",
        "--commit",
        COMMIT,
        "--policy",
        "policy.json",
    ];
    let error = program.run_err(&set).await;
    assert!(error.contains("maxAttempts is 0"), "{error}");
}

#[tokio::test]
async fn desired_show_prints_the_policy_and_who_forces_it() {
    let program = Program::start(Engine::Sqlite).await;
    assert_eq!(
        program.run_ok(&["desired", "show"]).await,
        "nothing is desired of all nodes; never set\n"
    );
    program.create_release(COMMIT).await;
    let set = [
        "desired",
        "set",
        "--all",
        "--commit",
        COMMIT,
        "--max-attempts",
        "9",
    ];
    let force = [
        "--force",
        "urgent",
        "--by",
        "ada",
        "--window",
        "daily 02:30 90m UTC",
    ];
    program.run_ok(&[&set[..], &force].concat()).await;
    let shown = program.run_ok(&["desired", "show"]).await;
    let record: DesiredRecord = program.get("desired").await;
    let rows: Vec<_> = shown.lines().skip(1).map(str::trim).collect();
    let expires = record.policy.force.unwrap().expires_at.unwrap();
    let force = format!(
        "force                by ada, until {}: urgent",
        expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    );
    assert_eq!(
        rows,
        [
            &force,
            "maxAttempts          9",
            "windows              daily 02:30 90m UTC"
        ]
    );
    program.run_ok(&["desired", "set", "--all", "--none"]).await;
    let shown = program.run_ok(&["desired", "show"]).await;
    assert!(
        shown.starts_with("nothing (revision 3, the setting for all"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_release_that_exists_already_is_told_from_a_new_one() {
    let program = Program::start(Engine::Sqlite).await;
    std::fs::write(
        program.dir.path().join("release.json"),
        release(COMMIT).to_string(),
    )
    .unwrap();
    let create = ["release", "create", "--no-registry", "--file", "release.json"];
    assert!(!program.run_ok(&create).await.contains("exists already"));
    assert!(program.run_ok(&create).await.contains("exists already"));
}

#[tokio::test]
async fn a_setting_of_the_agent_that_it_would_ignore_or_refuse_is_told_when_the_release_is_created() {
    let program = Program::start(Engine::Sqlite).await;
    let create = ["release", "create", "--no-registry", "--file", "release.json"];
    let write = |environment: Value| {
        let mut release = release(COMMIT);
        release["services"]["baserunner"]["environment"] = environment;
        std::fs::write(program.dir.path().join("release.json"), release.to_string()).unwrap();
    };
    write(json!({ "BASEOS_SERVICE": "onebox" }));
    let refused = program.run_err(&create).await;
    assert!(
        refused.contains("BASEOS_SERVICE = `onebox`: the agent's service is `baserunner`"),
        "{refused}"
    );
    write(json!({ "BASEOS_SERVICE": "baserunner", "BASEOS_CLOUDLY_ULR": "https://cloudly.example" }));
    let created = program.run(&create).await;
    assert!(created.status.success(), "{created:?}");
    assert_eq!(
        String::from_utf8_lossy(&created.stderr),
        "cloudly: in the environment of `baserunner`, the agent: BASEOS_CLOUDLY_ULR is not known; is BASEOS_CLOUDLY_URL \
         meant?\n"
    );
}

#[tokio::test]
async fn an_option_of_another_command_to_a_node_is_refused() {
    let program = Program::start(Engine::Sqlite).await;
    for (args, option) in [
        (["reboot", "--service", "onebox"], "--service"),
        (["checkNow", "--lines", "5"], "--lines"),
    ] {
        let args = [&["node", "command", "edge-1"][..], &args].concat();
        let error = program.run_err(&args).await;
        assert!(error.contains(&format!("{option} is an option of")), "{error}");
    }
}

#[tokio::test]
async fn the_name_of_a_removed_node_leads_to_its_id() {
    let program = Program::start(Engine::Sqlite).await;
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    let device = program.enrol_with(token.trim(), "box1").await;
    program.run_ok(&["node", "remove", "box1"]).await;
    let id = &device.id;
    assert_eq!(
        program.run_err(&["node", "restore", "box1"]).await,
        format!("cloudly: `box1` was removed: use its id {id}\n")
    );
    program.run_ok(&["node", "restore", id]).await;
}

#[tokio::test]
async fn a_pending_node_is_shown_as_pending() {
    let program = Program::start(Engine::Sqlite).await;
    let create = ["token", "create", "--quiet", "--require-approval"];
    let token = program.run_ok(&create).await;
    program.enrol_with(token.trim(), "edge-1").await;
    let shown = program.run_ok(&["node", "show", "edge-1"]).await;
    assert!(shown.contains("  state        pending\n"), "{shown}");
}

#[tokio::test]
async fn a_mistyped_log_level_prevents_the_start() {
    let dir = TempDir::new().unwrap();
    let output = output(cloudly(&dir).arg("serve").env("CLOUDLY_LOG", "lod")).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("`lod` is no level and no target=level"),
        "{error}"
    );
}
