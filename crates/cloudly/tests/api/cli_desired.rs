//! `cloudly desired`: for whom, what is kept, and for which revision.

use crate::support::{COMMIT, Engine, OTHER_COMMIT, Program};
use baseos_interfaces::admin::DesiredRecord;

async fn start() -> Program {
    let program = Program::start(Engine::Sqlite).await;
    program.create_release(COMMIT).await;
    program.create_release(OTHER_COMMIT).await;
    program
}

#[tokio::test]
async fn it_must_be_said_whether_all_nodes_are_meant_or_one() {
    let program = start().await;
    let set = ["desired", "set", "--commit", COMMIT];
    let error = program.run_err(&set).await;
    assert!(error.contains("<--all|--node <NODE>>"), "{error}");
    let both = program
        .run_err(&[&set[..], &["--all", "--node", "edge"]].concat())
        .await;
    assert!(both.contains("cannot be used with"), "{both}");
    let nobody = program.run_err(&[&set[..], &["--node", ""]].concat()).await;
    assert!(nobody.contains("there is no node"), "{nobody}");
    let record: DesiredRecord = program.get("desired").await;
    assert_eq!(record.revision, 0, "nothing was set");
}

#[tokio::test]
async fn options_change_the_policy_that_is_there_and_a_file_replaces_it() {
    let program = start().await;
    std::fs::write(
        program.dir.path().join("policy.json"),
        r#"{"maxDeferSeconds":60}"#,
    )
    .unwrap();
    let set = ["desired", "set", "--all", "--commit", COMMIT];
    for (options, policy) in [
        (
            &["--max-attempts", "9", "--force", "urgent", "--force-for", "2h"][..],
            (9, 120, 604_800, true),
        ),
        (&["--health", "5m"], (9, 300, 604_800, false)),
        (&[], (9, 300, 604_800, false)),
        (&["--policy", "policy.json", "--health", "1m"], (3, 60, 60, false)),
        (
            &["--default-policy", "--max-attempts", "2"],
            (2, 120, 604_800, false),
        ),
    ] {
        program.run_ok(&[&set[..], options].concat()).await;
        let DesiredRecord { policy: found, .. } = program.get("desired").await;
        let found = (
            found.max_attempts,
            found.health_seconds,
            found.max_defer_seconds,
            found.force.is_some(),
        );
        assert_eq!(found, policy, "{options:?}");
    }
}

#[tokio::test]
async fn what_is_replaced_is_said_and_another_revision_is_refused() {
    let program = start().await;
    let set = ["desired", "set", "--all", "--commit", COMMIT];
    program.run_ok(&set).await;
    let other = [
        "desired",
        "set",
        "--all",
        "--commit",
        OTHER_COMMIT,
        "--if-revision",
    ];
    let said = program.run_ok(&[&other[..], &["1"]].concat()).await;
    let expected = format!(
        "release {OTHER_COMMIT} is desired of all nodes (revision 2, in place of {COMMIT} of revision 1)\n"
    );
    assert_eq!(said, expected);
    let refused = program
        .run_err(&[&set[..], &["--if-revision", "1"]].concat())
        .await;
    let says =
        "what is desired there is at revision 2 now, not at 1: look at what was changed, and send this again";
    assert!(refused.contains(says), "{refused}");
    let token = program.run_ok(&["token", "create", "--quiet"]).await;
    program.enrol_with(token.trim(), "edge").await;
    let unset = ["desired", "unset", "--node", "edge", "--if-revision"];
    let refused = program.run_err(&[&unset[..], &["1"]].concat()).await;
    assert!(refused.contains(says), "{refused}");
    program.run_ok(&[&unset[..], &["2"]].concat()).await;
}

#[tokio::test]
async fn nodes_with_a_setting_of_their_own_are_named_when_all_are_set_and_shown_as_such() {
    let program = start().await;
    let one = program.enrol("edge-1").await;
    program.enrol("edge-2").await;
    let all = ["desired", "set", "--all", "--commit", COMMIT];
    assert_eq!(program.run_ok(&all).await.lines().count(), 1);
    let own = ["desired", "set", "--node", "edge-1", "--commit", OTHER_COMMIT];
    assert_eq!(program.run_ok(&own).await.lines().count(), 1);
    let said = program.run_ok(&all).await;
    assert_eq!(
        said.lines().nth(1).unwrap(),
        format!(
            "1 node has its own setting and is not affected: edge-1 ({}); `cloudly desired unset --node NODE` takes a \
             node's own setting away",
            one.id
        )
    );
    let row = |shown: String| {
        let row = shown.lines().find(|line| line.contains("  desired "));
        row.unwrap().to_owned()
    };
    let shown = row(program.run_ok(&["node", "show", "edge-1"]).await);
    assert!(
        shown.ends_with(&format!("{OTHER_COMMIT} (revision 2, own setting)")),
        "{shown}"
    );
    let shown = row(program.run_ok(&["node", "show", "edge-2"]).await);
    assert!(shown.ends_with(&format!("{COMMIT} (revision 3)")), "{shown}");
    program.run_ok(&["desired", "unset", "--node", "edge-1"]).await;
    assert_eq!(program.run_ok(&all).await.lines().count(), 1);
}

#[tokio::test]
async fn how_long_an_order_holds_needs_an_order_and_has_a_limit() {
    let program = start().await;
    let set = ["desired", "set", "--all", "--commit", COMMIT, "--force-for"];
    let error = program.run_err(&[&set[..], &["2h"]].concat()).await;
    assert!(error.contains("--force <REASON>"), "{error}");
    let error = program
        .run_err(&[&set[..], &["31d", "--force", "urgent"]].concat())
        .await;
    assert!(error.contains("use 1m to 30d"), "{error}");
    let error = program
        .run_err(&[&set[..], &["3600", "--force", "urgent"]].concat())
        .await;
    assert!(
        error.contains("a duration has a unit, s, m, h or d: write 3600s or 3600m, say; use 1m to 30d"),
        "{error}"
    );
}
