//! Refused bodies. Each is answered with a problem that names the place (checked by `problem`).

use crate::each_engine;
use crate::support::{Cloudly, Engine, problem, release, send_refused};
use baseos_interfaces::limits::{HEARTBEAT_MAX_BYTES, REGISTER_MAX_BYTES};
use reqwest::{Method, RequestBuilder};
use rstest_reuse::apply;
use serde_json::{Value, json};

fn register(cloudly: &Cloudly) -> RequestBuilder {
    cloudly
        .http
        .post(format!("{}/baseos/v1/nodes/register", cloudly.url))
        .header("content-type", "application/json")
}

fn registration() -> Value {
    json!({
        "protocolVersion": 1, "joinToken": "szj_x", "registrationId": "reg-1",
        "node": { "name": "edge", "agentVersion": "0.1.0" },
    })
}

#[apply(each_engine)]
#[tokio::test]
async fn invalid_json_is_refused_with_line_and_column(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for body in ["", "{", "{\"a\": }", "[1, 2", "{} {}", "\u{0}", "NaN"] {
        let refused = send_refused(register(&cloudly).body(body)).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{body:?}"
        );
    }
    let refused = send_refused(register(&cloudly).body("{\n  oops")).await;
    assert!(refused.title.contains("line 2 column 3"), "{}", refused.title);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_member_of_the_wrong_type_is_named_without_its_value(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut body = registration();
    body["node"]["name"] = json!(["szj_secret"]);
    let refused = send_refused(register(&cloudly).json(&body)).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.errors[0].pointer, "/node/name");
    let mut body = registration();
    body["protocolVersion"] = json!("szj_secret, expected szj_secret");
    let refused = send_refused(register(&cloudly).json(&body)).await;
    assert_eq!(refused.errors[0].pointer, "/protocolVersion");
    assert!(!serde_json::to_string(&refused).unwrap().contains("secret"));
}

#[apply(each_engine)]
#[tokio::test]
async fn a_missing_member_is_named(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut body = registration();
    body.as_object_mut().unwrap().remove("registrationId");
    let refused = send_refused(register(&cloudly).json(&body)).await;
    assert_eq!(refused.errors[0].code, "missing");
    assert!(refused.title.contains("registrationId"), "{}", refused.title);
}

#[apply(each_engine)]
#[tokio::test]
async fn members_out_of_bounds_are_named(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    for (pointer, value, code) in [
        ("/registrationId", json!(""), "empty"),
        ("/registrationId", json!("x".repeat(129)), "tooLong"),
        ("/registrationId", json!("two\nlines"), "controlCharacter"),
        ("/registrationId", json!(["szj_secret"]), "invalidValue"),
        ("/node/name", json!(""), "empty"),
        ("/node/name", json!("two\nlines"), "controlCharacter"),
        ("/node/hardwareId", json!("x".repeat(256)), "tooLong"),
        ("/labels", json!({ "x".repeat(65): "y" }), "tooLong"),
        ("/capabilities", json!(vec!["c"; 65]), "tooMany"),
        ("/capabilities", json!(["c".repeat(65)]), "tooLong"),
    ] {
        let mut body = registration();
        match pointer.rsplit_once('/').unwrap() {
            ("", member) => body[member] = value,
            (parent, member) => body[&parent[1..]][member] = value,
        }
        let refused = send_refused(register(&cloudly).json(&body)).await;
        let error = &refused.errors[0];
        assert_eq!(
            (refused.status, error.pointer.as_str(), error.code.as_str()),
            (422, pointer, code)
        );
        assert!(!refused.title.contains("secret"), "{}", refused.title);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_body_without_the_json_content_type_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let body = registration().to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let refused = send_refused(
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
        send_refused(cloudly.http.post(&url).body(body.clone()))
            .await
            .status,
        415
    );
    let accepted = cloudly
        .http
        .post(&url)
        .header("content-type", "application/json; charset=utf-8")
        .body(body);
    assert_eq!(
        send_refused(accepted).await.status,
        401,
        "only the token is wrong"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn a_body_over_the_limit_is_refused_on_both_endpoints(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut body = registration();
    body["padding"] = json!("x".repeat(REGISTER_MAX_BYTES));
    let refused = send_refused(register(&cloudly).json(&body)).await;
    assert_eq!((refused.status, refused.code.as_str()), (413, "payloadTooLarge"));

    let mut device = cloudly.enrol("edge").await;
    let fits = device.next(json!({ "padding": "x".repeat(HEARTBEAT_MAX_BYTES - 200) }));
    assert_eq!(device.send(&cloudly, &fits).await.status(), 200);
    let huge = device.next(json!({ "padding": "x".repeat(HEARTBEAT_MAX_BYTES) }));
    assert_eq!(problem(device.send(&cloudly, &huge).await).await.status, 413);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_deeply_nested_body_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let deep = format!("{{\"labels\": {}{}}}", "[".repeat(15_000), "]".repeat(15_000));
    assert_eq!(send_refused(register(&cloudly).body(deep)).await.status, 422);
    let mut device = cloudly.enrol("edge").await;
    let nested = |depth| (0..depth).fold(json!(1), |data, _| json!([data]));
    for (depth, status) in [(32, 200), (33, 422), (120, 422)] {
        let event = json!({ "id": "e", "at": "2026-11-23T12:00:00Z", "type": "x", "data": nested(depth) });
        let heartbeat = device.next(json!({ "events": [event] }));
        assert_eq!(
            device.send(&cloudly, &heartbeat).await.status(),
            status,
            "{depth} deep"
        );
    }
    let mut request = release("1f0a9be");
    request["services"]["onebox"]["composition"] = json!({ "x": nested(40) });
    let refused = cloudly.refused(Method::POST, "releases", request).await;
    assert_eq!(refused.errors[0].pointer, "/services/onebox/composition/x");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_heartbeat_with_invalid_members_changes_nothing(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
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
        let heartbeat = device.next(more.clone());
        let refused = problem(device.send(&cloudly, &heartbeat).await).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (422, "invalidRequest"),
            "{more}"
        );
        assert!(!refused.errors.is_empty(), "{more}");
    }
    assert_eq!(cloudly.node(&device).await.last_seen_at, None);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_refused_admin_body_says_what_was_given_and_what_is_expected_in_words_of_json(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let commands = format!("nodes/{}/commands", device.id);
    let release_with = |service: Value| json!({ "commit": "c0ffee1", "services": { "web": service } });
    let whole = "expected a whole number from 0 to 4294967295";
    let commit = |policy: Value| json!({ "commit": null, "policy": policy });
    for (method, path, body, pointer, code, says) in [
        (
            Method::POST,
            "releases",
            json!(["szj_secret"]),
            "",
            "invalidValue",
            "the body: expected an object, not a list",
        ),
        (
            Method::POST,
            "join-tokens",
            json!([]),
            "",
            "invalidValue",
            "the body: expected an object, not a list",
        ),
        (
            Method::PUT,
            "desired",
            json!([null]),
            "",
            "invalidValue",
            "the body: expected an object, not a list",
        ),
        (
            Method::PUT,
            "desired",
            json!("szj_secret"),
            "",
            "invalidValue",
            "the body: expected an object, not a string",
        ),
        (
            Method::POST,
            "releases",
            json!({ "commit": "c0ffee1" }),
            "/services",
            "missing",
            "`/services` is missing",
        ),
        (
            Method::POST,
            "releases",
            release_with(json!({})),
            "/services/web/image",
            "missing",
            "`/services/web/image` is missing",
        ),
        (
            Method::POST,
            "releases",
            release_with(json!({ "image": 5 })),
            "/services/web/image",
            "invalidValue",
            "`/services/web/image`: expected a string, not a number",
        ),
        (
            Method::POST,
            "releases",
            release_with(json!("szj_secret")),
            "/services/web",
            "invalidValue",
            "`/services/web`: expected an object, not a string",
        ),
        (
            Method::POST,
            "releases",
            json!({ "commit": "c0ffee1", "services": true }),
            "/services",
            "invalidValue",
            "`/services`: expected an object, not a boolean",
        ),
        (
            Method::PUT,
            "desired",
            commit(json!({ "maxAttempts": "szj_secret, expected u32" })),
            "/policy/maxAttempts",
            "invalidValue",
            &format!("`/policy/maxAttempts`: {whole}, not a string"),
        ),
        (
            Method::PUT,
            "desired",
            commit(json!({ "maxAttempts": -1 })),
            "/policy/maxAttempts",
            "invalidValue",
            &format!("`/policy/maxAttempts`: {whole}, not a number"),
        ),
        (
            Method::PUT,
            "desired",
            commit(json!({ "requireRollback": null })),
            "/policy/requireRollback",
            "invalidValue",
            "`/policy/requireRollback`: expected true or false, not null",
        ),
        (
            Method::PUT,
            "desired",
            commit(json!(["szj_secret"])),
            "/policy",
            "invalidValue",
            "`/policy`: expected an object, not a list",
        ),
        (
            Method::POST,
            "join-tokens",
            json!({ "maxUse": 5 }),
            "/maxUse",
            "unknownMember",
            "`/maxUse`: not known; use maxUses, ttlSeconds, fleet, labels, requireApproval, allowReplace",
        ),
        (
            Method::POST,
            &commands,
            json!({ "params": {} }),
            "/type",
            "missing",
            "`/type` is missing",
        ),
        (
            Method::POST,
            &commands,
            json!({ "type": "reboot", "ttlSeconds": [1] }),
            "/ttlSeconds",
            "invalidValue",
            &format!("`/ttlSeconds`: {whole}, not a list"),
        ),
        (
            Method::POST,
            &commands,
            json!({ "type": "collectLogs", "params": { "lines": "szj_secret" } }),
            "/params",
            "invalidValue",
            "the params of collectLogs are not right: lines is a whole number, 1 to 500",
        ),
    ] {
        let refused = cloudly.refused(method, path, body.clone()).await;
        let error = &refused.errors[0];
        assert_eq!(
            (
                refused.status,
                error.pointer.as_str(),
                error.code.as_str(),
                refused.title.as_str()
            ),
            (422, pointer, code, says),
            "{body}"
        );
    }
}

/// Every value of a document in turn replaced by this one.
fn with_each_replaced(document: &Value, by: &Value) -> Vec<Value> {
    let mut all = vec![by.clone()];
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                for replaced in with_each_replaced(value, by) {
                    let mut other = members.clone();
                    other.insert(name.clone(), replaced);
                    all.push(other.into());
                }
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                for replaced in with_each_replaced(value, by) {
                    let mut other = values.clone();
                    other[index] = replaced;
                    all.push(other.into());
                }
            }
        }
        _ => {}
    }
    all
}

#[apply(each_engine)]
#[tokio::test]
async fn no_refusal_repeats_what_may_be_a_secret(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let commands = format!("nodes/{}/commands", device.id);
    let mut large = release("abcdef0");
    large["services"]["onebox"] = json!({
        "image": "registry.example/onebox:1", "environment": { "A": "b" }, "labels": { "a": "b" }, "sizeBytes": 1,
        "composition": { "command": ["a"], "user": "1" },
        "platforms": { "linux/amd64": { "configDigest": format!("sha256:{}", "0".repeat(64)), "sizeBytes": 1 } },
    });
    // Without windows: what is no day, time or time zone is repeated.
    let policy = json!({
        "maxDeferSeconds": 1, "maxAttempts": 1, "healthSeconds": 1, "applyTimeoutSeconds": 1, "onFailure": "rollback",
        "heal": "restart", "requireLocalApproval": true, "requireRollback": true, "force": { "by": "a", "reason": "b" },
    });
    let requests = [
        (Method::POST, "releases", large),
        (
            Method::PUT,
            "desired",
            json!({ "commit": null, "policy": policy, "forceTtlSeconds": 60 }),
        ),
        (
            Method::POST,
            commands.as_str(),
            json!({ "type": "collectLogs", "params": { "lines": 1 }, "ttlSeconds": 1 }),
        ),
        (
            Method::POST,
            "join-tokens",
            json!({
                "maxUses": 1, "ttlSeconds": 60, "fleet": "a", "labels": { "a": "b" }, "requireApproval": true,
                "allowReplace": true,
            }),
        ),
    ];
    let mut said = std::collections::BTreeSet::new();
    for (method, path, body) in requests {
        let accepted = cloudly.admin(method.clone(), path).json(&body).send().await;
        let accepted = accepted.unwrap();
        assert!(
            accepted.status().is_success(),
            "{}",
            accepted.text().await.unwrap()
        );
        for secret in [
            json!("szj_secret"),
            json!("szj_secret\n"),
            json!("missing field `szj_secret`"),
            json!("invalid type: szj_secret, expected szj_secret"),
            json!(["szj_secret"]),
            json!({ "a": "szj_secret" }),
            json!([{ "a": ["szj_secret"] }]),
        ] {
            for body in with_each_replaced(&body, &secret) {
                let answer = cloudly
                    .admin(method.clone(), path)
                    .json(&body)
                    .send()
                    .await
                    .unwrap();
                let refused = !answer.status().is_success();
                let text = answer.text().await.unwrap();
                // Names are repeated: of a volume, and of a version, which people read.
                let names = body["version"] == secret || text.contains("undeclaredVolume");
                if refused && !names && text.contains("secret") {
                    said.insert(format!("{path}: {text}"));
                }
            }
        }
    }
    assert!(said.is_empty(), "{said:#?}");
}
