//! Every kind of bad input is answered with problem+json, a request id and a time (checked by `problem`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::limits::{HEARTBEAT_MAX_BYTES, REGISTER_MAX_BYTES};
use baseos_interfaces::problem::Problem;
use baseos_interfaces::token::TokenKind;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use support::{Cloudly, problem};

fn register(cloudly: &Cloudly) -> RequestBuilder {
    cloudly
        .http
        .post(format!("{}/baseos/v1/nodes/register", cloudly.url))
        .header("content-type", "application/json")
}

async fn answer(request: RequestBuilder) -> Problem {
    problem(request.send().await.unwrap()).await
}

fn registration() -> Value {
    json!({
        "protocolVersion": 1, "joinToken": "szj_x", "registrationId": "reg-1",
        "node": { "name": "edge", "agentVersion": "0.1.0" },
    })
}

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let cloudly = Cloudly::start().await;
    for path in [
        "/",
        "/baseos",
        "/baseos/v1/nodes",
        "/baseos/v2/nodes/register",
        "/%ff",
        "/baseos/v1/admin/nope",
    ] {
        let refused = answer(
            cloudly
                .http
                .get(format!("{}{path}", cloudly.url))
                .bearer_auth(&cloudly.admin),
        )
        .await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (404, "notFound"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_that_names_the_right_ones() {
    let cloudly = Cloudly::start().await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let response = cloudly.http.get(&url).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    let refused = problem(response).await;
    assert_eq!((refused.status, refused.code.as_str()), (405, "methodNotAllowed"));
    let refused = answer(cloudly.ask(Method::PATCH, "desired")).await;
    assert_eq!(refused.status, 405);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_a_problem_with_the_place() {
    let cloudly = Cloudly::start().await;
    for body in ["", "{", "{\"a\": }", "[1, 2", "{} {}", "\u{0}", "NaN"] {
        let refused = answer(register(&cloudly).body(body)).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{body:?}"
        );
    }
    let refused = answer(register(&cloudly).body("{\n  oops")).await;
    assert!(refused.title.contains("line 2 column 3"), "{}", refused.title);
}

#[tokio::test]
async fn a_member_of_the_wrong_type_is_named_and_its_value_is_not_repeated() {
    let cloudly = Cloudly::start().await;
    let mut body = registration();
    body["node"]["name"] = json!(["szj_secret"]);
    let refused = answer(register(&cloudly).json(&body)).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.errors[0].pointer, "/node/name");
    let mut body = registration();
    body["protocolVersion"] = json!("szj_secret, expected szj_secret");
    let refused = answer(register(&cloudly).json(&body)).await;
    assert_eq!(refused.errors[0].pointer, "/protocolVersion");
    assert!(!serde_json::to_string(&refused).unwrap().contains("secret"));
}

#[tokio::test]
async fn a_missing_member_is_named() {
    let cloudly = Cloudly::start().await;
    let mut body = registration();
    body.as_object_mut().unwrap().remove("registrationId");
    let refused = answer(register(&cloudly).json(&body)).await;
    assert_eq!(refused.errors[0].code, "missing");
    assert!(refused.title.contains("registrationId"), "{}", refused.title);
}

#[tokio::test]
async fn members_out_of_bounds_are_named() {
    let cloudly = Cloudly::start().await;
    for (pointer, value) in [
        ("/registrationId", json!("")),
        ("/registrationId", json!("x".repeat(129))),
        ("/node/name", json!("")),
        ("/node/name", json!("two\nlines")),
        ("/node/hardwareId", json!("x".repeat(256))),
        ("/labels", json!({ "x".repeat(65): "y" })),
        ("/capabilities", json!(vec!["c"; 65])),
    ] {
        let mut body = registration();
        match pointer.rsplit_once('/').unwrap() {
            ("", member) => body[member] = value,
            (parent, member) => body[&parent[1..]][member] = value,
        }
        let refused = answer(register(&cloudly).json(&body)).await;
        assert_eq!(
            (refused.status, refused.errors[0].pointer.as_str()),
            (422, pointer)
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_a_problem() {
    let cloudly = Cloudly::start().await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let body = registration().to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let refused = answer(
            cloudly
                .http
                .post(&url)
                .header("content-type", content_type)
                .body(body.clone()),
        )
        .await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (415, "unsupportedMediaType"),
            "{content_type}"
        );
    }
    assert_eq!(
        answer(cloudly.http.post(&url).body(body.clone())).await.status,
        415
    );
    let accepted = cloudly
        .http
        .post(&url)
        .header("content-type", "application/json; charset=utf-8")
        .body(body);
    assert_eq!(answer(accepted).await.status, 401, "only the token is wrong");
}

#[tokio::test]
async fn a_huge_body_is_a_problem_on_both_endpoints() {
    let cloudly = Cloudly::start().await;
    let mut body = registration();
    body["padding"] = json!("x".repeat(REGISTER_MAX_BYTES));
    let refused = answer(register(&cloudly).json(&body)).await;
    assert_eq!((refused.status, refused.code.as_str()), (413, "payloadTooLarge"));

    let mut device = cloudly.enrol("edge").await;
    let fits = device.next(json!({ "padding": "x".repeat(HEARTBEAT_MAX_BYTES - 200) }));
    assert_eq!(device.send(&cloudly, &fits).await.status(), 200);
    let huge = device.next(json!({ "padding": "x".repeat(HEARTBEAT_MAX_BYTES) }));
    assert_eq!(problem(device.send(&cloudly, &huge).await).await.status, 413);
}

#[tokio::test]
async fn a_deeply_nested_body_is_a_problem_and_nothing_worse() {
    let cloudly = Cloudly::start().await;
    let deep = format!("{{\"labels\": {}{}}}", "[".repeat(15_000), "]".repeat(15_000));
    assert_eq!(answer(register(&cloudly).body(deep)).await.status, 422);
    let mut device = cloudly.enrol("edge").await;
    let nested = |depth| (0..depth).fold(json!(1), |data, _| json!([data]));
    for (depth, status) in [(32, 200), (33, 422), (120, 422)] {
        let event = json!({ "id": "e", "at": "2026-11-23T12:00:00Z", "type": "x", "data": nested(depth) });
        let beat = device.next(json!({ "events": [event] }));
        assert_eq!(
            device.send(&cloudly, &beat).await.status(),
            status,
            "{depth} deep"
        );
    }
    let wish = json!({ "commit": "1f0a9be", "services": { "a": { "image": "i", "composition": { "x": nested(40) } } } });
    let refused = cloudly.refused(Method::POST, "releases", wish).await;
    assert_eq!(refused.errors[0].pointer, "/services/a/composition");
}

#[tokio::test]
async fn a_heartbeat_with_wrong_members_is_a_problem_and_changes_nothing() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    for more in [
        json!({ "runId": "" }),
        json!({ "sequence": -1 }),
        json!({ "observedRevision": (1u64 << 53) }),
        json!({ "statusHash": null }),
        json!({ "status": {} }),
        json!({ "sentAt": "yesterday" }),
        json!({ "events": [{ "id": "e" }] }),
    ] {
        let beat = device.next(more.clone());
        let refused = problem(device.send(&cloudly, &beat).await).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{more}"
        );
        assert!(!refused.errors.is_empty(), "{more}");
    }
    assert_eq!(cloudly.node(&device).await.last_seen_at, None);
}

#[tokio::test]
async fn a_missing_or_wrong_node_token_is_a_problem() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    let url = format!("{}/baseos/v1/nodes/heartbeat", cloudly.url);
    let beat = device.next(json!({}));
    let bare = || cloudly.http.post(&url).json(&beat);
    let wrong = cloudly_baseos::mint(TokenKind::Node).unwrap();
    for request in [
        bare(),
        bare().header("authorization", "Basic eDp5"),
        bare().header("authorization", "Bearer"),
        bare().bearer_auth("szn_short"),
        bare().bearer_auth(wrong.expose()),
        bare().bearer_auth(support::forged(TokenKind::Node, &device.token[4..14]).expose()),
        bare().bearer_auth(&cloudly.admin),
    ] {
        let refused = answer(request).await;
        assert_eq!((refused.status, refused.code.as_str()), (401, "nodeTokenInvalid"));
        assert!(!refused.retryable);
    }
}

#[tokio::test]
async fn a_missing_or_wrong_admin_token_is_a_problem_before_anything_is_read() {
    let cloudly = Cloudly::start().await;
    let device = cloudly.enrol("edge").await;
    let url = format!("{}/baseos/v1/admin/releases", cloudly.url);
    let wrong = cloudly_baseos::mint(TokenKind::Admin).unwrap();
    let forged = support::forged(TokenKind::Admin, &cloudly.admin[4..14]);
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

#[tokio::test]
async fn a_query_that_makes_no_sense_is_a_problem() {
    let cloudly = Cloudly::start().await;
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

#[tokio::test]
async fn health_needs_no_token() {
    let cloudly = Cloudly::start().await;
    let response = cloudly
        .http
        .get(format!("{}/healthz", cloudly.url))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("x-request-id"));
}
