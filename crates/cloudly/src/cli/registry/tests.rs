//! Against a registry in this process, good and bad.

use super::*;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use baseos_interfaces::desired::PlatformImage;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex};

/// `user:password` in base64.
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// What a fake answers, by path and query. The headers are those of the request.
type Answer = dyn Fn(&Fake, &str, &HeaderMap) -> Response + Send + Sync;

/// Path, and the `Authorization` header that came with it.
type Seen = (String, Option<String>);

/// A registry, or a server that a registry names.
#[derive(Clone)]
struct Fake {
    host: String,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    async fn start(answer: impl Fn(&Self, &str, &HeaderMap) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            host: listener.local_addr().unwrap().to_string(),
            answer: Arc::new(answer),
            seen: Arc::default(),
        };
        let router = Router::new().fallback(handle).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    /// A registry without access control that has these documents.
    async fn with(documents: BTreeMap<String, String>) -> Self {
        Self::start(move |_, path, _| from(&documents, path)).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn has_seen_credentials(&self) -> bool {
        self.seen()
            .iter()
            .any(|(_, authorization)| authorization.as_deref() == Some(BASIC))
    }
}

async fn handle(State(fake): State<Fake>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    fake.seen.lock().unwrap().push((path.clone(), authorization));
    let answer = fake.answer.clone();
    answer(&fake, &path, request.headers())
}

fn from(documents: &BTreeMap<String, String>, path: &str) -> Response {
    match documents.get(path) {
        Some(document) => document.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn digest(document: &str) -> String {
    let hex: String = Sha256::digest(document)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn put(documents: &mut BTreeMap<String, String>, kind: &str, document: String) -> String {
    let digest = digest(&document);
    documents.insert(format!("/v2/a/onebox/{kind}/{digest}"), document);
    digest
}

/// An image for one platform: its manifest's digest and its configuration's.
fn put_image(documents: &mut BTreeMap<String, String>, platform: &str) -> (String, String) {
    let config = put(documents, "blobs", format!("{{{platform}, \"rootfs\": {{}}}}"));
    let layer = "sha256:".to_owned() + &"c".repeat(64);
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {{"digest": "{config}", "size": 50}},
        "layers": [{{"digest": "{layer}", "size": 1000}}, {{"digest": "{layer}", "size": 200}}]}}"#
    );
    (put(documents, "manifests", manifest), config)
}

const AMD64: &str = r#""os": "linux", "architecture": "amd64""#;
const ARM_V7: &str = r#""os": "linux", "architecture": "arm", "variant": "v7""#;

fn tag(documents: &mut BTreeMap<String, String>, tag: &str, manifest: &str) {
    let document = documents[&format!("/v2/a/onebox/manifests/{manifest}")].clone();
    documents.insert(format!("/v2/a/onebox/manifests/{tag}"), document);
}

/// A repository with a single image as `1` and an index as `2`; the configuration digests for amd64 and arm.
fn repository() -> (BTreeMap<String, String>, String, String) {
    let mut documents = BTreeMap::new();
    let (amd, amd_config) = put_image(&mut documents, AMD64);
    let (arm, arm_config) = put_image(&mut documents, ARM_V7);
    tag(&mut documents, "1", &amd);
    let index = format!(
        r#"{{"manifests": [{{"digest": "{amd}", "size": 1, "platform": {{{AMD64}}}}},
        {{"digest": "{arm}", "size": 1, "platform": {{{ARM_V7}}}}},
        {{"digest": "{amd}", "size": 1, "platform": {{"os": "unknown", "architecture": "unknown"}}}}]}}"#
    );
    let index = put(&mut documents, "manifests", index);
    tag(&mut documents, "2", &index);
    (documents, amd_config, arm_config)
}

/// Asks for an image of a fake, with credentials for these hosts.
async fn resolve(fake: &Fake, version: &str, hosts: &[&str]) -> Result<Platforms, String> {
    // The client of the server's own process has it already; tests run in any order.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("config.json");
    let auth = BASIC.strip_prefix("Basic ").unwrap();
    let entries: Vec<_> = hosts
        .iter()
        .map(|host| format!(r#""{host}": {{"auth": "{auth}"}}"#))
        .collect();
    std::fs::write(&file, format!(r#"{{"auths": {{{}}}}}"#, entries.join(", "))).unwrap();
    let arguments = RegistryArgs {
        no_registry: false,
        registry_insecure: true,
        registry_credentials: Some(file),
    };
    let image = format!("{}/a/onebox{version}", fake.host);
    let mut services = BTreeMap::from([
        ("one".to_owned(), Service::of_image(&image)),
        ("two".to_owned(), Service::of_image(&image)),
    ]);
    let problems = fill_in(&arguments, &mut services).await.unwrap();
    assert_eq!(services["one"].platforms, services["two"].platforms);
    match problems.into_iter().next() {
        None => Ok(services.remove("one").unwrap().platforms),
        Some(problem) => {
            assert!(services["one"].platforms.is_empty());
            Err(problem)
        }
    }
}

fn image(config: &str) -> PlatformImage {
    PlatformImage {
        config_digest: Some(config.to_owned()),
        size_bytes: Some(1250),
    }
}

#[tokio::test]
async fn an_image_and_an_index_are_resolved_and_an_image_is_asked_for_once() {
    let (documents, amd, arm) = repository();
    let by_digest = digest(&documents["/v2/a/onebox/manifests/2"]);
    let fake = Fake::with(documents).await;
    let single = resolve(&fake, ":1", &[]).await.unwrap();
    assert_eq!(single, Platforms::from([("linux/amd64".to_owned(), image(&amd))]));
    assert_eq!(
        fake.seen().len(),
        2,
        "the manifest and the configuration, for both services"
    );
    let both = Platforms::from([
        ("linux/amd64".to_owned(), image(&amd)),
        ("linux/arm/v7".to_owned(), image(&arm)),
    ]);
    assert_eq!(resolve(&fake, ":2", &[]).await.unwrap(), both);
    assert_eq!(resolve(&fake, &format!("@{by_digest}"), &[]).await.unwrap(), both);
    assert!(!fake.has_seen_credentials());
}

#[tokio::test]
async fn credentials_are_not_sent_to_a_registry_that_does_not_ask() {
    let (documents, ..) = repository();
    let fake = Fake::with(documents).await;
    let host = fake.host.clone();
    resolve(&fake, ":2", &[&host]).await.unwrap();
    assert!(
        fake.seen()
            .iter()
            .all(|(_, authorization)| authorization.is_none())
    );
}

fn challenge(header: &str) -> Response {
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, header.to_owned())],
    )
        .into_response()
}

/// A registry that wants `wanted` and says so with `header`.
async fn guarded(wanted: &'static str, header: impl Fn(&Fake) -> String + Send + Sync + 'static) -> Fake {
    let (documents, ..) = repository();
    Fake::start(move |fake, path, headers| {
        if path.starts_with("/token") {
            let body = r#"{"access_token": "t0ken"}"#;
            return body.into_response();
        }
        match headers.get(header::AUTHORIZATION) {
            Some(given) if given == wanted => from(&documents, path),
            _ => challenge(&header(fake)),
        }
    })
    .await
}

#[tokio::test]
async fn a_registry_that_asks_for_a_password_gets_its_own() {
    let fake = guarded(BASIC, |_| r#"Basic realm="r""#.to_owned()).await;
    let host = fake.host.clone();
    assert!(resolve(&fake, ":2", &[&host]).await.is_ok());
    let refused = resolve(&fake, ":2", &["registry.example"]).await.unwrap_err();
    assert!(refused.contains("--registry-credentials"), "{refused}");
}

#[tokio::test]
async fn a_token_is_fetched_from_the_server_that_the_registry_names() {
    let fake = guarded("Bearer t0ken", |fake| {
        format!(
            r#"Bearer realm="http://{}/token",service="s",scope="repository:a/onebox:pull""#,
            fake.host
        )
    })
    .await;
    let host = fake.host.clone();
    assert!(resolve(&fake, ":2", &[]).await.is_ok(), "without credentials");
    assert!(!fake.has_seen_credentials());
    assert!(resolve(&fake, ":2", &[&host]).await.is_ok());
    let seen = fake.seen();
    let tokens: Vec<_> = seen
        .iter()
        .filter(|(path, _)| path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 2, "one a run");
    assert_eq!(tokens[1].1.as_deref(), Some(BASIC));
    assert_eq!(
        tokens[1].0,
        "/token?service=s&scope=repository%3Aa%2Fonebox%3Apull"
    );
}

/// A registry that names a token server on another host and asks for the right to push elsewhere.
async fn with_token_server() -> (Fake, Fake) {
    let server = Fake::start(|_, _, _| r#"{"token": "t0ken"}"#.into_response()).await;
    let header = format!(
        r#"Bearer realm="http://user:secret@{}/token?scope=repository:b:push",service="s",scope="repository:c:push""#,
        server.host
    );
    let registry = guarded("Bearer t0ken", move |_| header.clone()).await;
    (registry, server)
}

#[tokio::test]
async fn a_token_server_gets_the_credentials_of_the_registry_that_names_it() {
    let (registry, server) = with_token_server().await;
    let host = registry.host.clone();
    assert!(resolve(&registry, ":1", &[&host]).await.is_ok());
    assert_eq!(server.seen()[0].1.as_deref(), Some(BASIC));
}

#[tokio::test]
async fn a_registry_cannot_use_the_credentials_of_the_token_server_it_names() {
    let (registry, victim) = with_token_server().await;
    let other = victim.host.clone();
    assert!(resolve(&registry, ":1", &[&other]).await.is_ok());
    assert_eq!(victim.seen().len(), 1);
    assert_eq!(
        victim.seen()[0].1,
        None,
        "neither its entry nor what the realm holds"
    );
}

#[tokio::test]
async fn a_token_is_for_pulling_the_image_whatever_the_registry_asks_for() {
    let (registry, server) = with_token_server().await;
    assert!(resolve(&registry, ":1", &[]).await.is_ok());
    let paths: Vec<_> = server.seen().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/token?service=s&scope=repository%3Aa%2Fonebox%3Apull"]);
}

#[tokio::test]
async fn a_redirect_is_followed_without_credentials_and_once() {
    let (documents, amd, _) = repository();
    let elsewhere = documents.clone();
    let blobs = Fake::start(move |_, path, _| from(&elsewhere, path)).await;
    let to = blobs.host.clone();
    let fake = Fake::start(move |fake, path, headers| {
        if headers.get(header::AUTHORIZATION).is_none() {
            return challenge("Basic");
        }
        let host = if path.contains("loop") { &fake.host } else { &to };
        let location = [(header::LOCATION, format!("http://{host}{path}"))];
        match path.contains("blobs") || path.contains("loop") {
            true => (StatusCode::TEMPORARY_REDIRECT, location).into_response(),
            false => from(&documents, path),
        }
    })
    .await;
    let host = fake.host.clone();
    let found = resolve(&fake, ":1", &[&host]).await.unwrap();
    assert_eq!(found["linux/amd64"], image(&amd));
    assert_eq!(blobs.seen()[0].1, None);
    assert!(resolve(&fake, ":loop", &[&host]).await.is_err());
}

#[tokio::test]
async fn a_registry_that_cannot_say_it_is_reported_with_the_reason() {
    let (documents, ..) = repository();
    let fake = Fake::with(documents).await;
    let missing = resolve(&fake, ":9", &[]).await.unwrap_err();
    let expected = format!(
        "{0}/a/onebox:9: the registry {0} has no such image; the release goes without this image's digest and size",
        fake.host
    );
    assert_eq!(missing, expected);
    // A port that was just given back.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = Fake {
        host: closed.to_string(),
        ..fake.clone()
    };
    let error = resolve(&gone, ":1", &[]).await.unwrap_err();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn what_is_no_answer_of_a_registry_is_never_taken_for_one() {
    let config = "sha256:".to_owned() + &"d".repeat(64);
    let other = format!(r#"{{"config": {{"digest": "{config}", "size": 1}}, "layers": []}}"#);
    let with_digest = |digest: &str| format!(r#"{{"config": {{"digest": "{digest}", "size": 1}}}}"#);
    let to_other =
        format!(r#"{{"manifests": [{{"digest": "{config}", "size": 1, "platform": {{{AMD64}}}}}]}}"#);
    let entry = format!(r#"{{"digest": "{config}", "platform": {{{AMD64}}}}}"#);
    let cases = [
        ("not JSON", "<html>".to_owned()),
        ("an empty object", "{}".to_owned()),
        (
            "an old manifest",
            r#"{"schemaVersion": 1, "fsLayers": []}"#.to_owned(),
        ),
        ("an index of nothing", r#"{"manifests": []}"#.to_owned()),
        ("no digest", with_digest("latest")),
        ("a digest that climbs", with_digest("sha256:../../../token")),
        ("a configuration that is not there", with_digest(&config)),
        ("an index to something else", to_other),
        ("an index to no digest", entry.replace(&config, "../../x")),
        ("too much", " ".repeat(4 * 1024 * 1024 + 1)),
    ];
    for (name, document) in cases {
        let (document, other) = (document.clone(), other.clone());
        let fake = Fake::start(move |_, path, _| match path {
            "/v2/a/onebox/manifests/1" => document.clone().into_response(),
            path if path.contains("/manifests/sha256:") => other.clone().into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        })
        .await;
        let error = resolve(&fake, ":1", &[]).await;
        assert!(error.is_err(), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn what_no_release_may_hold_is_refused_as_an_answer_of_the_registry() {
    const LARGEST: u64 = (1 << 53) - 1;
    let sized = |layer: u64, platform: &str| {
        let mut documents = BTreeMap::new();
        let config = put(&mut documents, "blobs", format!("{{{platform}}}"));
        let manifest = format!(
            r#"{{"config": {{"digest": "{config}", "size": 1}}, "layers": [{{"digest": "x", "size": {layer}}}]}}"#
        );
        let manifest = put(&mut documents, "manifests", manifest);
        tag(&mut documents, "1", &manifest);
        let index = format!(
            r#"{{"manifests": [{{"digest": "{manifest}", "size": 1, "platform": {{{platform}}}}}]}}"#
        );
        let index = put(&mut documents, "manifests", index);
        tag(&mut documents, "2", &index);
        documents
    };
    let fake = Fake::with(sized(LARGEST - 1, AMD64)).await;
    let largest = resolve(&fake, ":2", &[]).await.unwrap();
    assert_eq!(largest["linux/amd64"].size_bytes, Some(LARGEST));

    let escape = r#""os": "linux\u001b[2J", "architecture": "amd64""#;
    let four_parts = r#""os": "linux", "architecture": "arm/v7", "variant": "x""#;
    let no_os = r#""os": "", "architecture": "amd64""#;
    for (documents, text) in [
        (sized(LARGEST, AMD64), "2^53"),
        (sized(u64::MAX, AMD64), "2^53"),
        (sized(1, escape), "os/architecture"),
        (sized(1, four_parts), "os/architecture"),
        (sized(1, no_os), "os/architecture"),
    ] {
        let fake = Fake::with(documents).await;
        for version in [":1", ":2"] {
            let error = resolve(&fake, version, &[]).await.unwrap_err();
            let named = format!("{0}/a/onebox{version}: {0} sends", fake.host);
            assert!(error.starts_with(&named) && error.contains(text), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_index_costs_a_request_for_each_platform_however_long_it_is() {
    let mut documents = BTreeMap::new();
    let (manifest, config) = put_image(&mut documents, AMD64);
    let entry = |architecture: &str| {
        format!(
            r#"{{"digest": "{manifest}", "size": 1, "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#
        )
    };
    let repeated = vec![entry("amd64"); 20_000].join(",");
    let different: Vec<_> = (0..20_000).map(|number| entry(&format!("a{number}"))).collect();
    for (name, entries) in [("3", repeated), ("4", different.join(","))] {
        let index = put(
            &mut documents,
            "manifests",
            format!(r#"{{"manifests": [{entries}]}}"#),
        );
        tag(&mut documents, name, &index);
    }
    let fake = Fake::with(documents).await;
    let one = Platforms::from([("linux/amd64".to_owned(), image(&config))]);
    assert_eq!(resolve(&fake, ":3", &[]).await.unwrap(), one);
    assert_eq!(fake.seen().len(), 2);
    let error = resolve(&fake, ":4", &[]).await.unwrap_err();
    assert!(error.contains("too many platforms"), "{error}");
    assert_eq!(fake.seen().len(), 2 + 1 + 32);
}

#[tokio::test]
async fn refusals_and_faults_are_told_apart_and_tell_no_secret() {
    for (status, text) in [
        (StatusCode::FORBIDDEN, "refuses access"),
        (StatusCode::UNAUTHORIZED, "refuses access"),
        (StatusCode::INTERNAL_SERVER_ERROR, "HTTP 500"),
        (StatusCode::TOO_MANY_REQUESTS, "HTTP 429"),
        (StatusCode::FOUND, "an address that is not https"),
    ] {
        let fake = Fake::start(move |_, _, _| status.into_response()).await;
        let host = fake.host.clone();
        let error = resolve(&fake, ":1", &[&host]).await.unwrap_err();
        assert!(error.contains(text) && !error.contains("dXNlcjpw"), "{error}");
    }
}
