//! A server in this process with a clock that tests move, an operator and devices that speak real HTTP.
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests, called with json!(…)"
)]

use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{CreatedJoinToken, NodeRecord};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use baseos_interfaces::problem::{PROBLEM_JSON, Problem};
use baseos_interfaces::register::RegisterAnswer;
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::{Clock, Server, ServerError, Settings};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const COMMIT: &str = "1f0a9be";
pub(crate) const OTHER_COMMIT: &str = "77c2d01";

pub(crate) fn start_time() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    // The second test of a process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
}

pub(crate) struct Cloudly {
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) clock: Clock,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: TempDir,
    adjust: fn(&mut Settings),
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Cloudly {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: fn(&mut Settings)) -> Self {
        let mut cloudly = Self {
            url: String::new(),
            admin: String::new(),
            clock: Clock::manual(start_time()),
            http: http(),
            dir: TempDir::new().unwrap(),
            adjust,
            stop: None,
            serving: None,
        };
        cloudly.run().await;
        cloudly
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("cloudly.db")
    }

    async fn run(&mut self) {
        let mut settings = Settings::new(self.database());
        settings.listen = "127.0.0.1:0".to_owned();
        (self.adjust)(&mut settings);
        let server = Server::bind(settings, self.clock.clone()).await.unwrap();
        self.url = server.url();
        self.admin = server.admin_token().expose().to_owned();
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.serving = Some(tokio::spawn(server.serve(async { drop(stopped.await) })));
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.serving.take().unwrap().await.unwrap().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    /// Starts again after [`Self::stop`].
    pub(crate) async fn restart_stopped(&mut self) {
        self.run().await;
    }

    /// Stops, lets so many seconds pass, and starts again.
    pub(crate) async fn stop_and_advance(&mut self, seconds: i64) {
        self.stop().await;
        self.clock.advance(seconds);
        self.run().await;
    }

    /// A request of the operator.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/baseos/v1/admin/{path}", self.url))
            .bearer_auth(&self.admin)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        good(self.ask(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        good(self.ask(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        good(self.ask(Method::PUT, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value) -> Problem {
        problem(self.ask(method, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn join_token(&self, wish: Value) -> String {
        let created: CreatedJoinToken = self.post("join-tokens", wish).await;
        created.token.expose().to_owned()
    }

    pub(crate) async fn register(&self, join_token: &str, registration: &str) -> Response {
        self.register_as(
            join_token,
            registration,
            json!({ "name": "edge", "agentVersion": "0.1.0" }),
        )
        .await
    }

    pub(crate) async fn register_as(&self, join_token: &str, registration: &str, node: Value) -> Response {
        let body = json!({
            "protocolVersion": 1, "joinToken": join_token, "registrationId": registration, "node": node,
            "labels": { "site": "berlin" }, "capabilities": ["commands"],
        });
        self.http
            .post(format!("{}/baseos/v1/nodes/register", self.url))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    /// A node that has been let in and has not said anything yet.
    pub(crate) async fn enrol(&self, name: &str) -> Device {
        let token = self.join_token(json!({})).await;
        let node = json!({ "name": name, "agentVersion": "0.1.0" });
        Device::new(
            good(
                self.register_as(&token, &format!("registration-{name}"), node)
                    .await,
            )
            .await,
        )
    }

    pub(crate) async fn node(&self, device: &Device) -> NodeRecord {
        self.get(&format!("nodes/{}", device.id)).await
    }

    pub(crate) async fn release(&self, commit: &str) {
        let _: Value = self
            .post("releases", json!({ "commit": commit, "services": { "onebox": { "image": "registry.example/onebox:1" } } }))
            .await;
    }

    /// Actions in the audit log, newest first.
    pub(crate) async fn audit(&self) -> Vec<(String, Value)> {
        let page: Value = self.get("audit").await;
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| (item["action"].as_str().unwrap().to_owned(), item["data"].clone()))
            .collect()
    }

    /// The reasons of refused registrations, newest first.
    pub(crate) async fn refusals(&self) -> Vec<String> {
        let audit = self.audit().await;
        let refused = audit
            .into_iter()
            .filter(|(action, _)| action == "joinToken.refused");
        refused
            .map(|(_, data)| data["reason"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A device as Cloudly sees it.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) run: String,
    pub(crate) sequence: u64,
    pub(crate) observed: u64,
    pub(crate) hash: String,
}

impl Device {
    pub(crate) fn new(answer: RegisterAnswer) -> Self {
        Self {
            id: answer.node_id,
            token: answer.node_token.expose().to_owned(),
            run: "r_1".to_owned(),
            sequence: 0,
            observed: 0,
            hash: "h0".to_owned(),
        }
    }

    /// The next heartbeat, with more members if given.
    pub(crate) fn next(&mut self, more: Value) -> Value {
        self.sequence += 1;
        let mut beat = json!({
            "protocolVersion": 1, "runId": self.run, "sequence": self.sequence, "statusHash": self.hash,
            "observedRevision": self.observed,
        });
        beat.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        beat
    }

    pub(crate) async fn send(&self, cloudly: &Cloudly, beat: &Value) -> Response {
        let url = format!("{}/baseos/v1/nodes/heartbeat", cloudly.url);
        cloudly
            .http
            .post(url)
            .bearer_auth(&self.token)
            .json(beat)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn beat(&mut self, cloudly: &Cloudly) -> HeartbeatAnswer {
        self.beat_with(cloudly, json!({})).await
    }

    pub(crate) async fn beat_with(&mut self, cloudly: &Cloudly, more: Value) -> HeartbeatAnswer {
        let beat = self.next(more);
        good(self.send(cloudly, &beat).await).await
    }

    pub(crate) async fn refused(&mut self, cloudly: &Cloudly) -> Problem {
        let beat = self.next(json!({}));
        problem(self.send(cloudly, &beat).await).await
    }

    /// Reports a status under a hash of its own.
    pub(crate) async fn report(&mut self, cloudly: &Cloudly, status: Value) -> HeartbeatAnswer {
        self.hash = format!("h{}", self.sequence + 1);
        self.beat_with(cloudly, json!({ "status": status })).await
    }
}

/// A full status of a node that is in `state` on its way to `target` and runs `running`.
pub(crate) fn status(state: &str, target: Option<&str>, running: Option<&str>) -> Value {
    json!({
        "supervisor": { "available": true, "version": "19.0.5", "managed": false, "error": null },
        "os": { "name": "balenaOS", "version": "6.5.24", "variant": "prod" },
        "agent": { "version": "0.1.0", "startedAt": "2026-11-23T11:00:00Z", "restartCount": 0, "state": "idle" },
        "release": { "running": running, "previous": null,
                     "services": { "onebox": { "image": "registry.example/onebox:1", "status": "Running" } } },
        "update": { "kind": "app", "state": state, "target": target, "blockedBy": [], "error": null },
        "rollout": null,
        "network": { "ipAddresses": ["10.0.4.17"], "macAddresses": [] },
        "health": { "state": "ok", "issues": [] },
    })
}

pub(crate) async fn good<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(if text.is_empty() { "null" } else { &text }).unwrap()
}

/// Reads an error and checks what every error has.
pub(crate) async fn problem(response: Response) -> Problem {
    let status = response.status();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    assert!(!status.is_success(), "{status}: {text}");
    assert_eq!(headers["content-type"], PROBLEM_JSON, "{status}: {text}");
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(
        problem.request_id.as_deref(),
        headers["x-request-id"].to_str().ok()
    );
    assert!(problem.server_time.is_some());
    problem
}

/// A well-formed token with a known id and another secret: the checksum is no secret.
pub(crate) fn forged(kind: TokenKind, id: &str) -> Token {
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = id.bytes();
    let forged = Token::mint(kind, |bytes| {
        for byte in bytes.iter_mut() {
            let digit = left.next().unwrap_or(b'0');
            *byte = alphabet.iter().position(|d| *d == digit).unwrap() as u8;
        }
    });
    assert_eq!(forged.id().as_str(), id);
    forged
}
