//! `cloudly export` and `cloudly apply`.

use crate::support::{COMMIT, Engine, OTHER_COMMIT, Program, release, write_secret};
use serde_json::{Value, json};

async fn exported(program: &Program) -> Value {
    serde_json::from_str(&program.run_ok(&["export"]).await).unwrap()
}

/// Two releases, a target of all with a policy, and a node with another one.
async fn filled() -> Program {
    let program = Program::start(Engine::Sqlite).await;
    program.create_release(OTHER_COMMIT).await;
    let device = program.enrol("edge").await;
    program.set_target(COMMIT).await;
    let policy = json!({ "maxAttempts": 7, "force": { "by": "me", "reason": "now" } });
    let request = json!({ "commit": OTHER_COMMIT, "policy": policy });
    let _: Value = program
        .put(&format!("nodes/{}/desired", device.id), request)
        .await;
    program
}

fn write(program: &Program, export: &Value) {
    let file = program.dir.path().join("export.json");
    std::fs::remove_file(&file).ok();
    write_secret(&file, &export.to_string());
}

#[tokio::test]
async fn an_export_makes_another_cloudly_the_same_and_nothing_is_done_twice() {
    let from = filled().await;
    let mut export = exported(&from).await;
    let commits: Vec<_> = export["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|release| &release["commit"])
        .collect();
    assert_eq!(commits, [OTHER_COMMIT, COMMIT], "the first one first");
    let own = &export["desired"]["nodes"][0];
    assert_eq!(
        (&own["name"], &own["commit"], &own["policy"]["maxAttempts"]),
        (&json!("edge"), &json!(OTHER_COMMIT), &json!(7))
    );
    assert_eq!(own["policy"].get("force"), None, "it is for once");
    assert_eq!(export["joinTokens"].as_array().unwrap().len(), 1);
    assert!(!export.to_string().contains("szj_"));

    let to = Program::start(Engine::Sqlite).await;
    to.enrol("edge").await;
    export["desired"]["nodes"][0]["node"] = json!("edge");
    write(&to, &export);
    let before = exported(&to).await;
    let said = to.run_ok(&["apply", "export.json", "--dry-run"]).await;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], format!("would create release {OTHER_COMMIT}"));
    assert_eq!(lines[1], format!("would create release {COMMIT}"));
    let own = format!("would desire release {OTHER_COMMIT} of edge (node_");
    assert!(
        lines[2].starts_with(&own) && lines[2].ends_with(", in place of no setting"),
        "{said}"
    );
    assert_eq!(
        lines[3],
        format!("would desire release {COMMIT} of all nodes, in place of no setting")
    );
    assert_eq!(exported(&to).await, before);
    let said = to.run_ok(&["apply", "export.json"]).await;
    assert!(
        said.starts_with(&format!("create release {OTHER_COMMIT}\n")),
        "{said}"
    );
    let after = exported(&to).await;
    assert_eq!(after["releases"], export["releases"]);
    assert_eq!(after["desired"]["all"], export["desired"]["all"]);
    assert_eq!(
        after["desired"]["nodes"][0]["policy"],
        export["desired"]["nodes"][0]["policy"]
    );
    let lines = to.audit().await.len();
    let said = to.run_ok(&["apply", "export.json"]).await;
    assert_eq!(said, "everything is as the file says\n");
    assert_eq!(to.audit().await.len(), lines);

    // What differs is set, and what is not named stays.
    write(
        &to,
        &json!({ "cloudlyExport": 1, "desired": { "all": { "commit": null } } }),
    );
    let said = to.run_ok(&["apply", "export.json"]).await;
    assert_eq!(
        said,
        format!("desire nothing of all nodes, in place of release {COMMIT}\n")
    );
    let all = exported(&to).await["desired"]["all"].take();
    assert_eq!(
        (&all["commit"], &all["policy"]),
        (&Value::Null, &after["desired"]["all"]["policy"])
    );
    assert_eq!(exported(&to).await["desired"]["nodes"], after["desired"]["nodes"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_applied_changes_nothing_and_says_why() {
    let program = filled().await;
    program
        .enrol_with(program.join_token(json!({})).await.as_str(), "twin")
        .await;
    program
        .enrol_with(program.join_token(json!({})).await.as_str(), "twin")
        .await;
    let before = (exported(&program).await, program.audit().await.len());
    let mut other = release(COMMIT);
    other["services"]["onebox"]["image"] = json!("registry.example/onebox:9");
    let fresh = release("abcdef0");
    let of = |desired: Value| json!({ "cloudlyExport": 1, "releases": [fresh], "desired": desired });
    for (file, says) in [
        (
            json!({ "cloudlyExport": 1, "releases": [fresh, other] }),
            "there is a release with commit 1f0a9be and other contents",
        ),
        (
            of(json!({ "all": { "commit": "0badbad" } })),
            "neither Cloudly nor the file has it",
        ),
        (
            of(json!({ "nodes": [{ "node": "nobody", "commit": null }] })),
            "there is no node `nobody`",
        ),
        (
            of(json!({ "nodes": [{ "node": "twin", "commit": null }] })),
            "several nodes are named `twin`",
        ),
        (
            of(json!({ "all": { "commit": null, "policy": { "force": { "by": "me", "reason": "now" } } } })),
            "`cloudly desired set --force`",
        ),
        (of(json!({ "all": { "comit": null } })), "comit"),
        (
            json!({ "cloudlyExport": 2 }),
            "has form 2, and this cloudly knows form 1",
        ),
        (json!({}), "cloudlyExport"),
    ] {
        write(&program, &file);
        for args in [
            &["apply", "export.json"][..],
            &["apply", "export.json", "--dry-run"],
        ] {
            let error = program.run_err(args).await;
            assert!(error.contains(says), "{says}: {error}");
        }
        let after = (exported(&program).await, program.audit().await.len());
        assert!(after == before, "{says}");
    }
}
