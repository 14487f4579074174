//! `cloudly db check`.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, Program, connect, status};
use cloudly_baseos::{Database, maintenance};
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn each_thing_that_is_wrong_is_named_with_what_to_do(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 2 })).await;
    let mut device = cloudly.enrol_with(&token, "edge").await;
    cloudly.set_target(COMMIT).await;
    device.report(&cloudly, status("idle", None, Some(COMMIT))).await;
    cloudly.command(&device, json!({ "type": "checkNow" })).await;
    let _: serde_json::Value = cloudly
        .put(
            &format!("nodes/{}/desired", device.id),
            json!({ "commit": COMMIT }),
        )
        .await;
    let database = Database::parse(&cloudly.database_url).unwrap();
    let pepper = cloudly.dir.path().join("token-pepper");
    let check = async || maintenance::check(&database, &pepper).await.unwrap();
    assert_eq!(check().await, []);

    let mut connection = connect(&cloudly.database_url).await;
    for (change, back, what) in [
        (
            "UPDATE node_tokens SET node_id = 'x'",
            "UPDATE node_tokens SET node_id = (SELECT id FROM nodes)",
            "node tokens of nodes that do not exist",
        ),
        (
            "UPDATE node_tokens SET slot = 'next'",
            "UPDATE node_tokens SET slot = 'current'",
            "nodes with a next token and no current one",
        ),
        (
            "UPDATE node_tokens SET slot = 'best'",
            "UPDATE node_tokens SET slot = 'current'",
            "tokens of a kind that this cloudly does not know",
        ),
        (
            "UPDATE join_tokens SET uses = 2",
            "UPDATE join_tokens SET uses = 1",
            "join tokens whose number of uses is not that of their registrations",
        ),
        (
            "UPDATE join_tokens SET max_uses = 0",
            "UPDATE join_tokens SET max_uses = 2",
            "join tokens with more uses than they allow",
        ),
        (
            "UPDATE join_tokens SET allow_replace = 2",
            "UPDATE join_tokens SET allow_replace = 0",
            "values that are neither yes nor no",
        ),
        (
            "UPDATE desired SET revision = 99 WHERE scope = 'all'",
            "UPDATE desired SET revision = 1 WHERE scope = 'all'",
            "targets with a revision that was not issued",
        ),
        (
            "UPDATE desired SET revision = 1",
            "UPDATE desired SET revision = 2 WHERE scope <> 'all'",
            "targets with the revision of another one",
        ),
        (
            "UPDATE desired SET commit_id = 'abcdef0' WHERE scope = 'all'",
            "UPDATE desired SET commit_id = '1f0a9be'",
            "targets with a release that does not exist",
        ),
        (
            "UPDATE desired SET policy = '{' WHERE scope = 'all'",
            "UPDATE desired SET policy = '{}'",
            "values of desired.policy that cannot be read",
        ),
        (
            "UPDATE nodes SET desired_floor = 99",
            "UPDATE nodes SET desired_floor = 0",
            "nodes with a revision that was not issued",
        ),
        (
            "UPDATE nodes SET lifecycle = 'retired'",
            "UPDATE nodes SET lifecycle = 'active'",
            "nodes in a state that this cloudly does not know",
        ),
        (
            "UPDATE nodes SET facts = '[]'",
            "UPDATE nodes SET facts = '{\"name\":\"edge\",\"agentVersion\":\"0.1.0\"}'",
            "values of nodes.facts that cannot be read",
        ),
        (
            "UPDATE node_status SET update_state = 'dancing'",
            "UPDATE node_status SET update_state = 'idle'",
            "values of node_status.update_state that cannot be read",
        ),
        (
            "UPDATE commands SET node_id = 'x'",
            "UPDATE commands SET node_id = (SELECT id FROM nodes)",
            "rows about nodes that do not exist",
        ),
        (
            "DELETE FROM counters",
            "INSERT INTO counters (name, value) VALUES ('desired', 2)",
            "counters of revisions that are missing",
        ),
        ("DELETE FROM node_tokens", "", "active nodes without a token"),
    ] {
        sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
        let found = check().await;
        let named = found.iter().find(|finding| finding.what == what);
        let named = named.unwrap_or_else(|| panic!("{what}: {found:?}"));
        assert!(
            named.count >= 1 && !named.example.is_empty() && !named.remedy.is_empty(),
            "{named:?}"
        );
        sqlx::raw_sql(back).execute(&mut connection).await.unwrap();
        if !back.is_empty() {
            assert_eq!(check().await, [], "{what}");
        }
    }
    std::fs::remove_file(&pepper).unwrap();
    assert_eq!(check().await[1].what, "peppers that are missing");
}

#[tokio::test]
async fn a_damaged_file_is_found() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    for number in 0..50 {
        cloudly.create_release(&format!("c0ffee{number:02}")).await;
    }
    cloudly.stop().await;
    let mut bytes = std::fs::read(cloudly.database()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(cloudly.database(), bytes).unwrap();
    let database = Database::parse(&cloudly.database_url).unwrap();
    let checked = maintenance::check(&database, &cloudly.dir.path().join("token-pepper")).await;
    let found = match checked {
        Ok(findings) => findings[0].what.clone(),
        Err(error) => error.to_string(),
    };
    assert!(
        found.contains("damaged") || found.contains("malformed"),
        "{found}"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn the_exit_code_says_whether_something_is_wrong_while_the_server_goes_on(engine: Engine) {
    let mut url = None;
    let server = Program::start_with(engine, |_, command| {
        let set = command
            .as_std()
            .get_envs()
            .find(|(name, _)| *name == "CLOUDLY_DATABASE_URL");
        url = set.and_then(|(_, value)| Some(value?.to_str()?.to_owned()));
        command.args(["--log", "warn"]);
    })
    .await;
    let url = url.unwrap();
    let said = server.run_ok(&["db", "check", "--database-url", &url]).await;
    assert!(said.ends_with("nothing is wrong\n"), "{said}");
    let mut connection = connect(&url).await;
    sqlx::raw_sql("DELETE FROM counters")
        .execute(&mut connection)
        .await
        .unwrap();
    let output = server.run(&["db", "check", "--database-url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("counters of revisions that are missing: 1 (e.g. desired)\n  somebody else"),
        "{said}"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("one thing is wrong"), "{error}");
}
