//! A server's API, as an operator and as nodes that enrol.

use super::device::Device;
use baseos_interfaces::admin::{CommandRecord, CreatedJoinToken, NodeRecord, Page};
use baseos_interfaces::problem::{PROBLEM_JSON, Problem};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) admin_token: String,
    pub(crate) http: reqwest::Client,
}

pub(crate) fn http() -> reqwest::Client {
    // Fails when another test of the process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
}

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            url: String::new(),
            admin_token: String::new(),
            http: http(),
        }
    }

    /// A request of the operator.
    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/baseos/v1/admin/{path}", self.url))
            .bearer_auth(&self.admin_token)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        ok(self.admin(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        ok(self.admin(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        ok(self.admin(Method::PUT, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value) -> Problem {
        problem(self.admin(method, path).json(&body).send().await.unwrap()).await
    }

    /// All pages of a list.
    pub(crate) async fn list<T: DeserializeOwned>(&self, path: &str, limit: usize) -> Vec<T> {
        let mut items = Vec::new();
        let mut query = format!("{path}?limit={limit}");
        loop {
            let page: Page<T> = self.get(&query).await;
            assert!(page.items.len() <= limit);
            items.extend(page.items);
            let Some(next) = page.next else { return items };
            query = format!("{path}?limit={limit}&cursor={next}");
        }
    }

    pub(crate) async fn join_token(&self, request: Value) -> String {
        let created: CreatedJoinToken = self.post("join-tokens", request).await;
        created.token.expose().to_owned()
    }

    pub(crate) async fn register(&self, join_token: &str, registration: &str) -> Response {
        let node = json!({ "name": "edge", "agentVersion": "0.1.0" });
        self.register_as(join_token, registration, node).await
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

    /// A node that is registered and has not sent a heartbeat yet.
    pub(crate) async fn enrol(&self, name: &str) -> Device {
        let token = self.join_token(json!({})).await;
        self.enrol_with(&token, name).await
    }

    pub(crate) async fn enrol_with(&self, join_token: &str, name: &str) -> Device {
        let node = json!({ "name": name, "agentVersion": "0.1.0" });
        let registration = format!("registration-{name}");
        Device::new(ok(self.register_as(join_token, &registration, node).await).await)
    }

    /// A device that must be registered.
    pub(crate) async fn register_ok(&self, join_token: &str, registration: &str) -> Device {
        Device::new(ok(self.register(join_token, registration).await).await)
    }

    pub(crate) async fn command(&self, device: &Device, request: Value) -> CommandRecord {
        self.post(&format!("nodes/{}/commands", device.id), request).await
    }

    /// `approve`, `suspend`, `restore`, `remove` or `clear-clone`.
    pub(crate) async fn decide(&self, device: &Device, decision: &str) -> NodeRecord {
        self.post(&format!("nodes/{}/{decision}", device.id), json!({}))
            .await
    }

    pub(crate) async fn node(&self, device: &Device) -> NodeRecord {
        self.get(&format!("nodes/{}", device.id)).await
    }

    pub(crate) async fn create_release(&self, commit: &str) {
        let _: Value = self.post("releases", super::release(commit)).await;
    }

    /// Creates a release and makes it the target of all nodes.
    pub(crate) async fn set_target(&self, commit: &str) -> u64 {
        self.create_release(commit).await;
        let set: Value = self.put("desired", json!({ "commit": commit })).await;
        set["revision"].as_u64().unwrap()
    }

    /// Actions and data of the audit log, newest first.
    pub(crate) async fn audit(&self) -> Vec<(String, Value)> {
        let page: Value = self.get("audit").await;
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| (item["action"].as_str().unwrap().to_owned(), item["data"].clone()))
            .collect()
    }

    /// The audited reasons of refused registrations, newest first.
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

/// The body of an answer that must be a success.
pub(crate) async fn ok<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(if text.is_empty() { "null" } else { &text }).unwrap()
}

/// The problem of an answer that must be an error, with the members that every problem has.
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

/// The problem that answers a request.
pub(crate) async fn send_refused(request: RequestBuilder) -> Problem {
    problem(request.send().await.unwrap()).await
}

/// Every refusal of a join token looks the same.
pub(crate) fn assert_refused(problem: &Problem) {
    assert_eq!((problem.status, problem.code.as_str()), (401, "joinTokenInvalid"));
    assert!(!problem.retryable);
    assert_eq!(problem.title, "the join token is not accepted");
    assert_eq!(problem.detail, None);
}
