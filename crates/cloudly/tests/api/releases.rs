//! Releases.

use crate::support::{COMMIT, Cloudly, ok, release};
use baseos_interfaces::admin::{Page, ReleaseRecord};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A release with this value at a pointer.
fn release_with(pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let mut request = release(COMMIT);
    request.pointer_mut(parent).unwrap()[member] = value;
    request
}

#[tokio::test]
async fn a_release_is_stored_with_all_its_members() {
    let cloudly = Cloudly::start().await;
    let request = json!({
        "commit": COMMIT, "version": "1.13.0", "agentService": "edge",
        "services": { "edge": {
            "image": "registry.example/baserunner@sha256:ab", "environment": { "A": "b" },
            "labels": { "io.balena.features.supervisor-api": "1" }, "composition": { "volumes": ["baseos:/data/baseos"] },
        } },
        "volumes": { "baseos": {} }, "networks": {},
    });
    let response = cloudly
        .admin(Method::POST, "releases")
        .json(&request)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let record: ReleaseRecord = ok(response).await;
    assert!(record.release.release_id.starts_with("rel_"));
    let listed: Page<ReleaseRecord> = cloudly.get("releases").await;
    assert_eq!(listed.items, std::slice::from_ref(&record));
    assert_eq!(record.release.agent_service(), "edge");
    assert_eq!(record.release.services["edge"].environment["A"], "b");
    assert_eq!(
        record.release.services["edge"].composition["volumes"][0],
        "baseos:/data/baseos"
    );
}

#[tokio::test]
async fn the_same_release_is_accepted_again_and_other_contents_conflict() {
    let cloudly = Cloudly::start().await;
    let first: ReleaseRecord = cloudly.post("releases", release(COMMIT)).await;
    let again = cloudly
        .admin(Method::POST, "releases")
        .json(&release(COMMIT))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(ok::<ReleaseRecord>(again).await, first);
    let mut spelled_out = release(COMMIT);
    spelled_out["agentService"] = json!("baserunner");
    assert_eq!(
        cloudly.post::<ReleaseRecord>("releases", spelled_out).await,
        first
    );
    for (pointer, value) in [
        ("/services/onebox/image", json!("registry.example/onebox:2")),
        ("/version", json!("1.0.1")),
    ] {
        let other = release_with(pointer, value);
        let refused = cloudly.refused(Method::POST, "releases", other).await;
        assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));
    }
}

#[tokio::test]
async fn a_refused_release_names_every_member_that_breaks_a_rule() {
    let cloudly = Cloudly::start().await;
    let mut request = release("1234567");
    request["services"]["web.1"] = json!({ "image": "a b" });
    request["services"]["baserunner"]["labels"] = json!({});
    let refused = cloudly.refused(Method::POST, "releases", request).await;
    assert_eq!((refused.status, refused.code.as_str()), (422, "invalidRequest"));
    assert!(refused.title.ends_with("(and 3 more)"), "{}", refused.title);
    let errors = refused.errors.iter();
    let errors: Vec<_> = errors.map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
    let expected = [
        ("/commit", "noLetter"),
        ("/services/web.1", "notAName"),
        ("/services/web.1/image", "notAnImage"),
        ("/services/baserunner/labels", "supervisorApiMissing"),
    ];
    assert_eq!(errors, expected);
}

/// Such releases were stored and sent, and every agent refused them.
#[tokio::test]
async fn a_release_that_no_agent_would_take_is_refused() {
    let cloudly = Cloudly::start().await;
    for (code, pointer, value) in [
        (
            "agentServiceMissing",
            "/services",
            json!({ "onebox": { "image": "i" } }),
        ),
        ("agentServiceMissing", "/agentService", json!("edge")),
        (
            "stateVolumeMissing",
            "/services/baserunner/composition",
            json!({}),
        ),
        ("undeclaredVolume", "/volumes", json!({})),
    ] {
        let request = release_with(pointer, value);
        let refused = cloudly.refused(Method::POST, "releases", request.clone()).await;
        let codes: Vec<_> = refused.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!(codes, [code], "{request}");
    }
    let listed: Page<ReleaseRecord> = cloudly.get("releases").await;
    assert_eq!(listed.items, []);
}

#[tokio::test]
async fn an_invalid_release_is_refused_with_pointer_and_reason() {
    let cloudly = Cloudly::start().await;
    let image = |image: &str| release_with("/services/onebox/image", json!(image));
    let cases = [
        (release("1234567"), "/commit", "letters a to f"),
        (release("1f0a9bG"), "/commit", "hex digits"),
        (release("1F0A9BE"), "/commit", "lower case"),
        (release("1f0a9b"), "/commit", "7 to 64"),
        (
            json!({ "commit": COMMIT, "services": {} }),
            "/services",
            "at least one service",
        ),
        (image(""), "/services/onebox/image", "empty"),
        (image(&"x".repeat(256)), "/services/onebox/image", "255"),
        (
            release_with("/services/onebox", json!({})),
            "/services/onebox",
            "missing field `image`",
        ),
        (
            release_with(
                "/services/onebox",
                json!({ "image": "i", "composition": { "image": "j" } }),
            ),
            "/services/onebox/composition/image",
            "does not belong there",
        ),
        (
            release_with("/volumes", json!({ "baseos": {}, "a/b": {} })),
            "/volumes/a~1b",
            "name",
        ),
        (json!({ "commit": COMMIT }), "", "missing field `services`"),
        (
            json!({ "commit": COMMIT, "services": {}, "service": {} }),
            "/service",
            "does not have",
        ),
    ];
    for (request, pointer, text) in cases {
        let refused = cloudly.refused(Method::POST, "releases", request.clone()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{request}"
        );
        assert_eq!(refused.errors[0].pointer, pointer, "{request}");
        assert!(refused.title.contains(text), "{request}: {}", refused.title);
    }
}
