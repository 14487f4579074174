//! Refused requests: paths, methods, tokens, queries. Each is answered with a problem (checked by `problem`).

use crate::each_engine;
use crate::support::{Cloudly, Engine, connect, forged, problem, send_refused};
use baseos_interfaces::token::TokenKind;
use cloudly_baseos::mint;
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::json;

#[apply(each_engine)]
#[tokio::test]
async fn an_unknown_path_is_a_problem(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for path in [
        "/",
        "/baseos",
        "/baseos/v1/nodes",
        "/baseos/v2/nodes/register",
        "/%ff",
        "/baseos/v1/admin/nope",
    ] {
        let refused = send_refused(
            cloudly
                .http
                .get(format!("{}{path}", cloudly.url))
                .bearer_auth(&cloudly.admin_token),
        )
        .await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (404, "notFound"),
            "{path}"
        );
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_wrong_method_is_a_problem_with_the_allowed_ones(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let response = cloudly.http.get(&url).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    let refused = problem(response).await;
    assert_eq!((refused.status, refused.code.as_str()), (405, "methodNotAllowed"));
    let refused = send_refused(cloudly.admin(Method::PATCH, "desired")).await;
    assert_eq!(refused.status, 405);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_missing_or_wrong_node_token_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let url = format!("{}/baseos/v1/nodes/heartbeat", cloudly.url);
    let heartbeat = device.next(json!({}));
    let bare = || cloudly.http.post(&url).json(&heartbeat);
    let wrong = mint(TokenKind::Node).unwrap();
    for request in [
        bare(),
        bare().header("authorization", "Basic eDp5"),
        bare().header("authorization", "Bearer"),
        bare().bearer_auth("szn_short"),
        bare().bearer_auth(wrong.expose()),
        bare().bearer_auth(forged(TokenKind::Node, &device.token[4..14]).expose()),
        bare().bearer_auth(&cloudly.admin_token),
    ] {
        let refused = send_refused(request).await;
        assert_eq!((refused.status, refused.code.as_str()), (401, "nodeTokenInvalid"));
        assert!(!refused.retryable);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_wrong_admin_token_is_refused_before_the_body_is_read(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let url = format!("{}/baseos/v1/admin/releases", cloudly.url);
    let wrong = mint(TokenKind::Admin).unwrap();
    let forged = forged(TokenKind::Admin, &cloudly.admin_token[4..14]);
    let bare = || cloudly.http.post(&url).body("not json");
    for request in [
        bare(),
        bare().bearer_auth(wrong.expose()),
        bare().bearer_auth(forged.expose()),
        bare().bearer_auth(&device.token),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let refused = problem(response).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (401, "adminTokenInvalid")
        );
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn an_invalid_query_is_a_problem(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let refused = cloudly.refused(Method::GET, "nodes?limit=many", json!({})).await;
    assert_eq!(refused.code, "invalidRequest");
    assert_eq!(
        cloudly
            .refused(Method::GET, "audit?cursor=x", json!({}))
            .await
            .status,
        422
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn the_health_checks_need_no_token(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for path in ["healthz", "readyz"] {
        let url = format!("{}/{path}", cloudly.url);
        let response = cloudly.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers().contains_key("x-request-id"));
    }
}

/// It stays as it is, so there is no use in another try, and what else is stored is served.
#[apply(each_engine)]
#[tokio::test]
async fn a_damaged_row_is_an_internal_error_and_no_outage_of_the_database(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let (damaged, whole) = (cloudly.enrol("edge-1").await, cloudly.enrol("edge-2").await);
    let mut database = connect(&cloudly.database_url).await;
    sqlx::query("UPDATE nodes SET facts = '{' WHERE id = $1")
        .bind(&damaged.id)
        .execute(&mut database)
        .await
        .unwrap();
    let path = format!("nodes/{}", damaged.id);
    let refused = cloudly.refused(Method::GET, &path, json!({})).await;
    assert_eq!(
        (refused.status, refused.code.as_str(), refused.retryable),
        (500, "internal", false)
    );
    assert_eq!(cloudly.node(&whole).await.id, whole.id);
}
