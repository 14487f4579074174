//! Lists: paging, and join tokens without their secrets.

use crate::each_engine;
use crate::support::{Cloudly, Engine};
use baseos_interfaces::admin::{JoinTokenRecord, NodeRecord, Page};
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn paging_returns_every_row_once(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly.join_token(json!({ "maxUses": 5 })).await;
    for n in 0..5 {
        assert_eq!(cloudly.register(&token, &format!("reg-{n}")).await.status(), 201);
        cloudly.clock.advance(1);
    }
    let nodes: Vec<NodeRecord> = cloudly.list("nodes", 2).await;
    let ids: Vec<_> = nodes.iter().map(|node| &node.id).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|a, b| a < b), "in order of arrival");
}

#[apply(each_engine)]
#[tokio::test]
async fn join_tokens_are_listed_without_secrets(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let token = cloudly
        .join_token(json!({ "maxUses": 3, "requireApproval": true }))
        .await;
    cloudly.register(&token, "reg-1").await;
    let text = cloudly
        .admin(Method::GET, "join-tokens")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!text.contains(&token[15..58]));
    assert!(!text.contains("mac"));
    let page: Page<JoinTokenRecord> = serde_json::from_str(&text).unwrap();
    let record = &page.items[0];
    assert_eq!(
        (record.id.as_str(), record.uses, record.max_uses),
        (&token[4..14], 1, 3)
    );
    assert!(record.require_approval);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_join_token_out_of_bounds_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for (request, pointer) in [
        (json!({ "maxUses": 0 }), "/maxUses"),
        (json!({ "ttlSeconds": 0 }), "/ttlSeconds"),
        (json!({ "ttlSeconds": 31 * 86_400 }), "/ttlSeconds"),
        (json!({ "fleet": "" }), "/fleet"),
        (json!({ "labels": { "": "x" } }), "/labels"),
        (json!({ "uses": 3 }), "/uses"),
    ] {
        let refused = cloudly
            .refused(Method::POST, "join-tokens", request.clone())
            .await;
        assert_eq!(
            (refused.status, refused.errors[0].pointer.as_str()),
            (422, pointer),
            "{request}"
        );
    }
}
