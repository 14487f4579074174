//! Releases.

use crate::support::{COMMIT, Cloudly, ok};
use baseos_interfaces::admin::{Page, ReleaseRecord};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

fn release(commit: &str) -> Value {
    json!({ "commit": commit, "version": "1.0.0", "services": { "onebox": { "image": "registry.example/onebox:1" } } })
}

#[tokio::test]
async fn a_release_is_stored_with_all_its_members() {
    let cloudly = Cloudly::start().await;
    let request = json!({
        "commit": COMMIT, "version": "1.13.0",
        "services": { "baserunner": {
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
    assert_eq!(record.release.services["baserunner"].environment["A"], "b");
    assert_eq!(
        record.release.services["baserunner"].composition["volumes"][0],
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
    let mut other = release(COMMIT);
    other["services"]["onebox"]["image"] = json!("registry.example/onebox:2");
    let refused = cloudly.refused(Method::POST, "releases", other).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn an_invalid_release_is_refused_with_pointer_and_reason() {
    let cloudly = Cloudly::start().await;
    let long = format!("registry.example/{}", "x".repeat(255));
    let cases = [
        (
            json!({ "commit": "1234567", "services": { "a": { "image": "i" } } }),
            "/commit",
            "letters a to f",
        ),
        (
            json!({ "commit": "1f0a9bG", "services": { "a": { "image": "i" } } }),
            "/commit",
            "hex digits",
        ),
        (
            json!({ "commit": "1F0A9BE", "services": { "a": { "image": "i" } } }),
            "/commit",
            "lower case",
        ),
        (
            json!({ "commit": "1f0a9b", "services": { "a": { "image": "i" } } }),
            "/commit",
            "7 to 64",
        ),
        (
            json!({ "commit": COMMIT, "services": {} }),
            "/services",
            "at least one service",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": { "image": "" } } }),
            "/services/a/image",
            "empty",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": { "image": long } } }),
            "/services/a/image",
            "255",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a": {} } }),
            "/services/a",
            "missing field `image`",
        ),
        (
            json!({ "commit": COMMIT, "services": { "a/b": { "image": "i" } } }),
            "/services/a~1b",
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
