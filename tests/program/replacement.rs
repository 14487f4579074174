//! `baserunner join --replace`: at every moment the node has an identity that works.

use crate::fixture::{Fixture, LIMIT, V2};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::admin::CreateJoinToken;
use baseos_simulator::harness::{ensure, stored_node_id, wait_until};

/// What an operator takes back before the first heartbeat of the new identity.
#[derive(Clone, Copy, Debug)]
enum TakenBack {
    /// The join token, which gives the node its own id again, with another node token.
    Token,
    /// The second node that has the hardware of the first.
    Node,
}

/// The agent is killed once it has stored the new token, and starts again when an operator has taken it back.
async fn replace_and_take_back(taken_back: TakenBack) {
    let script = WrapperScript::new();
    let fixture = Fixture::start(script.options()).await.unwrap();
    let node = fixture.node().await.unwrap();
    let request = CreateJoinToken {
        allow_replace: matches!(taken_back, TakenBack::Token),
        ..CreateJoinToken::default()
    };
    let token = fixture.cloudly.create_join_token(&request).await.unwrap();

    script.at_next_start("export BASEOS_FAILPOINT='register.stored'");
    let starts = fixture.device.starts("baserunner");
    fixture.device.kill("baserunner");
    fixture.wait_agent_started(starts + 1).await.unwrap();
    fixture.wait_connected(true).await.unwrap();
    let go = fixture.dir().join("go");
    script.at_next_start(&format!("until [ -e {} ]; do sleep 0.1; done", go.display()));
    // It follows the agent until that is killed.
    fixture
        .run_command(&["join", "--replace", token.token.expose()])
        .await;
    wait_until("it starts again", LIMIT, async || {
        let now = fixture.device.starts("baserunner");
        ensure(now >= starts + 2, || format!("{now} starts"))
    })
    .await
    .unwrap();
    let state = std::fs::read_to_string(fixture.state_dir().join("state.json")).unwrap();
    assert!(state.contains("earlierToken"), "both identities are stored");
    let nodes = fixture.cloudly.nodes().await.unwrap();
    match taken_back {
        TakenBack::Token => {
            assert_eq!(nodes.len(), 1, "{nodes:?}");
            fixture.cloudly.revoke_join_token(&token.id).await.unwrap();
        }
        TakenBack::Node => {
            let second = nodes.iter().find(|known| known.id != node.id);
            fixture
                .cloudly
                .act_on_node(&second.unwrap().id, "remove")
                .await
                .unwrap();
        }
    }
    let before = fixture.cloudly.node(&node.id).await.unwrap().last_seen_at;
    std::fs::write(&go, "").unwrap();
    wait_until(
        "it is heard as the node it was, and knows it",
        LIMIT,
        async || {
            let known = fixture.cloudly.node(&node.id).await;
            let heard = known.map_err(|error| error.to_string())?.last_seen_at;
            let itself = stored_node_id(&fixture.state_dir()).map_err(|error| error.to_string())?;
            ensure(heard > before && itself == node.id, || {
                format!("heard at {heard:?}, calls itself {itself}")
            })
        },
    )
    .await
    .unwrap();
    let state = std::fs::read_to_string(fixture.state_dir().join("state.json")).unwrap();
    assert!(
        !state.contains(token.token.expose()) && !state.contains("earlierToken"),
        "{taken_back:?}"
    );
    fixture.desire(V2).await.unwrap();
    fixture.wait_runs(V2, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_node_whose_replacement_is_revoked_goes_on_with_the_token_it_had() {
    replace_and_take_back(TakenBack::Token).await;
}

#[tokio::test]
async fn a_node_whose_second_identity_is_removed_goes_on_as_the_one_it_was() {
    replace_and_take_back(TakenBack::Node).await;
}
