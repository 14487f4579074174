//! A device, as Cloudly sees it.

use super::api::{Api, ok, problem};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use baseos_interfaces::problem::Problem;
use baseos_interfaces::register::RegisterAnswer;
use reqwest::Response;
use serde_json::{Value, json};

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

    /// The next heartbeat, with these members added.
    pub(crate) fn next(&mut self, more: Value) -> Value {
        self.sequence += 1;
        let mut heartbeat = json!({
            "protocolVersion": 1, "runId": self.run, "sequence": self.sequence, "statusHash": self.hash,
            "observedRevision": self.observed,
        });
        heartbeat
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        heartbeat
    }

    pub(crate) async fn send(&self, api: &Api, heartbeat: &Value) -> Response {
        let url = format!("{}/baseos/v1/nodes/heartbeat", api.url);
        let request = api.http.post(url).bearer_auth(&self.token).json(heartbeat);
        request.send().await.unwrap()
    }

    pub(crate) async fn heartbeat(&mut self, api: &Api) -> HeartbeatAnswer {
        self.heartbeat_with(api, json!({})).await
    }

    pub(crate) async fn heartbeat_with(&mut self, api: &Api, more: Value) -> HeartbeatAnswer {
        let heartbeat = self.next(more);
        ok(self.send(api, &heartbeat).await).await
    }

    pub(crate) async fn refused(&mut self, api: &Api) -> Problem {
        let heartbeat = self.next(json!({}));
        problem(self.send(api, &heartbeat).await).await
    }

    /// Reports a status under a new hash.
    pub(crate) async fn report(&mut self, api: &Api, status: Value) -> HeartbeatAnswer {
        self.hash = format!("h{}", self.sequence + 1);
        self.heartbeat_with(api, json!({ "status": status })).await
    }

    /// The new token in the answer to the next heartbeat.
    pub(crate) async fn rotated_token(&mut self, api: &Api) -> String {
        let credentials = self.heartbeat(api).await.credentials.unwrap();
        credentials.node_token.expose().to_owned()
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
