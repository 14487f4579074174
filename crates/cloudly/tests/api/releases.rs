//! Releases.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Engine, OTHER_COMMIT, ok, problem, release, status};
use baseos_interfaces::admin::{Page, ReleaseRecord};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use baseos_interfaces::limits::ANSWER_MAX_BYTES;
use reqwest::{Method, StatusCode};
use rstest_reuse::apply;
use serde_json::{Value, json};

/// A release with this value at a pointer.
fn release_with(pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let mut request = release(COMMIT);
    request.pointer_mut(parent).unwrap()[member] = value;
    request
}

#[apply(each_engine)]
#[tokio::test]
async fn a_release_is_stored_with_all_its_members(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let request = json!({
        "commit": COMMIT, "version": "1.13.0", "agentService": "edge",
        "services": { "edge": {
            "image": "registry.example/baserunner:ab", "environment": { "A": "b" },
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

#[apply(each_engine)]
#[tokio::test]
async fn the_same_release_is_accepted_again_and_other_contents_conflict(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
        assert!(
            refused.title.contains(&format!("({pointer} differs)")),
            "{}",
            refused.title
        );
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_conflict_names_the_first_members_that_differ_and_no_values(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut known = release(COMMIT);
    known["services"]["onebox"]["environment"] = json!({ "GONE": "old-secret", "KEY": "old-secret" });
    let _: ReleaseRecord = cloudly.post("releases", known).await;
    let mut other = release(COMMIT);
    other["services"]["onebox"]["environment"] = json!({ "KEY": "new-secret", "MORE": "new-secret" });
    other["services"]["baserunner"]["composition"]["privileged"] = json!(true);
    other["services"]["web"] = json!({ "image": "registry.example/web:1" });
    other["volumes"]["data"] = json!({});
    other["version"] = json!("new-secret");
    let refused = cloudly.refused(Method::POST, "releases", other).await;
    let expected = "(/services/baserunner/composition/privileged is new, /services/onebox/environment/GONE is missing, \
                    /services/onebox/environment/KEY differs, /services/onebox/environment/MORE is new, \
                    /services/web is new, and 2 more)";
    assert!(refused.title.contains(expected), "{}", refused.title);
    assert!(!refused.title.contains("secret"), "{}", refused.title);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_refused_release_names_every_member_that_breaks_a_rule(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
#[apply(each_engine)]
#[tokio::test]
async fn a_release_that_no_agent_would_take_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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

#[apply(each_engine)]
#[tokio::test]
async fn an_invalid_release_is_refused_with_pointer_and_reason(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
            "/services/onebox/image",
            "`/services/onebox/image` is missing",
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
        (json!({ "commit": COMMIT }), "/services", "`/services` is missing"),
        (
            json!({ "commit": COMMIT, "services": {}, "service": {} }),
            "/service",
            "did you mean `services`",
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

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A release of the usual agent and this Onebox.
fn with_onebox(commit: &str, onebox: Value) -> Value {
    let mut request = release(commit);
    request["services"]["onebox"] = onebox;
    request
}

#[apply(each_engine)]
#[tokio::test]
async fn an_image_that_a_device_could_take_for_one_of_another_release_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let by_digest = |digest: &str| json!({ "image": format!("registry.example/onebox@{digest}") });
    cloudly
        .post::<ReleaseRecord>("releases", with_onebox(COMMIT, by_digest(A)))
        .await;
    let known = |digest: &str| json!({ "linux/amd64": { "configDigest": digest, "sizeBytes": 1 } });
    let tagged = json!({ "image": "registry.example/onebox:2", "platforms": known(A) });
    cloudly
        .post::<ReleaseRecord>("releases", with_onebox("77c2d02", tagged))
        .await;
    let moved = json!({ "image": "registry.example/onebox:2", "platforms": known(B) });
    for (onebox, code) in [
        (by_digest(B), "sharedRepository"),
        (
            json!({ "image": format!("registry.example/onebox:3@{B}") }),
            "sharedRepository",
        ),
        (moved, "movedTag"),
        (json!({ "image": "registry.example/onebox" }), "notAnImage"),
    ] {
        let request = with_onebox(OTHER_COMMIT, onebox);
        let refused = cloudly.refused(Method::POST, "releases", request.clone()).await;
        assert_eq!((refused.status, refused.code.as_str()), (422, "invalidRequest"));
        assert_eq!(refused.errors[0].pointer, "/services/onebox/image");
        assert_eq!(refused.errors[0].code, code, "{request}");
        assert!(refused.title.contains("registry.example/onebox:1.13.0") || code == "notAnImage");
    }
    let listed: Page<ReleaseRecord> = cloudly.get("releases").await;
    assert_eq!(listed.items.len(), 2, "nothing that was refused is kept");
    // A repository whose name only begins alike is another one.
    let other = json!({ "image": format!("registry.example/oneboxes@{B}") });
    cloudly
        .post::<ReleaseRecord>("releases", with_onebox(OTHER_COMMIT, other))
        .await;
}

#[apply(each_engine)]
#[tokio::test]
async fn what_a_registry_says_is_kept_and_checked_and_is_no_part_of_the_contents(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let platforms = json!({ "linux/arm/v7": { "configDigest": A, "sizeBytes": 268_435_456u64 } });
    let onebox = |platforms: &Value| json!({ "image": "registry.example/onebox:1", "platforms": platforms });
    let first: ReleaseRecord = cloudly
        .post("releases", with_onebox(COMMIT, onebox(&platforms)))
        .await;
    let image = &first.release.services["onebox"].platforms["linux/arm/v7"];
    assert_eq!(image.config_digest.as_deref(), Some(A));
    assert_eq!(image.size_bytes, Some(268_435_456));
    let unreachable = with_onebox(COMMIT, onebox(&json!({})));
    assert_eq!(
        cloudly.post::<ReleaseRecord>("releases", unreachable).await,
        first
    );
    let moved = with_onebox(COMMIT, onebox(&json!({ "linux/arm/v7": { "configDigest": B } })));
    let refused = cloudly.refused(Method::POST, "releases", moved).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));

    let many: serde_json::Map<_, _> = (0..33).map(|n| (format!("linux/a{n}"), json!({}))).collect();
    for (platforms, code, pointer) in [
        (
            json!({ "amd64": {} }),
            "notAPlatform",
            "/services/onebox/platforms",
        ),
        (
            json!({ "linux/AMD64": {} }),
            "notAPlatform",
            "/services/onebox/platforms",
        ),
        (
            json!({ "linux/amd64": { "configDigest": "sha256:ab" } }),
            "notADigest",
            "/services/onebox/platforms/linux~1amd64/configDigest",
        ),
        (
            json!({ "linux/amd64": { "sizeBytes": 1u64 << 53 } }),
            "tooLarge",
            "/services/onebox/platforms/linux~1amd64/sizeBytes",
        ),
        (Value::Object(many), "tooMany", "/services/onebox/platforms"),
    ] {
        let request = with_onebox(OTHER_COMMIT, onebox(&platforms));
        let refused = cloudly.refused(Method::POST, "releases", request).await;
        let error = &refused.errors[0];
        assert_eq!((error.code.as_str(), error.pointer.as_str()), (code, pointer));
    }
}

/// A release with so many numbers, which are written as `1e15` and sent as `1000000000000000.0`.
fn release_of_numbers(commit: &str, count: usize) -> String {
    let mut release = release(commit);
    release["services"]["onebox"]["composition"] = json!({ "x-numbers": "HERE" });
    let numbers = vec!["1e15"; count].join(",");
    release.to_string().replace("\"HERE\"", &format!("[{numbers}]"))
}

#[apply(each_engine)]
#[tokio::test]
async fn the_largest_answer_is_one_that_an_agent_reads(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let create = async |body: String| {
        let request = cloudly.admin(Method::POST, "releases").body(body);
        let request = request.header("content-type", "application/json");
        request.send().await.unwrap()
    };
    let refused = problem(create(release_of_numbers(COMMIT, 7_000)).await).await;
    assert_eq!(
        (refused.status, refused.errors[0].code.as_str()),
        (422, "tooLong")
    );
    assert!(refused.title.contains("131072 at most"), "{}", refused.title);
    for commit in [COMMIT, OTHER_COMMIT] {
        let created = create(release_of_numbers(commit, 6_800)).await;
        assert_eq!(created.status(), StatusCode::CREATED);
    }
    device
        .report(&cloudly, status("idle", None, Some(OTHER_COMMIT)))
        .await;

    let window = json!({ "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "01:00",
                         "durationSeconds": 604_800, "timeZone": "America/Argentina/Buenos_Aires" });
    let force = json!({ "by": "é".repeat(255), "reason": "é".repeat(500) });
    let policy = json!({ "windows": vec![window; 32], "force": force });
    let _: Value = cloudly
        .put("desired", json!({ "commit": COMMIT, "policy": policy }))
        .await;
    for _ in 0..32 {
        let restart = json!({ "type": "restartService", "params": { "service": "é".repeat(63) } });
        cloudly.command(&device, restart).await;
    }
    let heartbeat = device.next(json!({}));
    let answer = device.send(&cloudly, &heartbeat).await.bytes().await.unwrap();
    let read: HeartbeatAnswer = serde_json::from_slice(&answer).unwrap();
    let fallback = read.instructions.desired.unwrap().fallback.unwrap();
    assert_eq!(
        (fallback.commit.as_str(), read.instructions.commands.len()),
        (OTHER_COMMIT, 32)
    );
    assert!(
        answer.len() > 250_000 && answer.len() <= ANSWER_MAX_BYTES,
        "{}",
        answer.len()
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn a_window_with_a_day_twice_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let window =
        json!({ "days": vec!["mon"; 20_000], "start": "01:00", "durationSeconds": 1, "timeZone": "UTC" });
    let policy = json!({ "windows": [window] });
    let target = json!({ "commit": null, "policy": policy });
    let refused = cloudly.refused(Method::PUT, "desired", target).await;
    assert_eq!(refused.errors[0].code.as_str(), "notAWindow");
    assert!(refused.title.contains("named twice"), "{}", refused.title);
}
