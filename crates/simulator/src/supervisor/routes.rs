//! The HTTP API: from a request to a reply.

use crate::json::{Json, object};
use crate::supervisor::api::{Answer, Reply, Request, is_forced};
use crate::supervisor::environment;
use crate::supervisor::model::Supervisor;
use crate::supervisor::parse_target::{Refusal, parse_local, parse_v3};
use std::time::Duration;

impl Supervisor {
    pub fn handle(&mut self, now: Duration, request: &Request) -> Reply {
        self.advance(now);
        if !self.is_up() {
            return Reply::Dropped;
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/ping") => return Reply::Answer(Answer::text(200, "OK")),
            ("GET", "/v1/healthy") => return Reply::Answer(Answer::plain(200, "OK")),
            _ => {}
        }
        if !self.is_allowed(request.key.as_deref()) {
            return Reply::Answer(Answer::plain(401, "Unauthorized"));
        }
        let body = match read_body(request) {
            Ok(body) => body,
            Err(message) => return Reply::Answer(Answer::failed(503, &message)),
        };
        self.route(request, &body)
    }

    fn route(&mut self, request: &Request, body: &Json) -> Reply {
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let answer = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["v1", "device"]) => Answer::json(200, &self.device()),
            ("GET", ["v1", "device", "host-config"]) => {
                let network = object! { "hostname" => self.name.as_str() };
                Answer::json(200, &object! { "network" => network })
            }
            ("GET", ["v2", "state", "status"]) => Answer::json(200, &self.state_status()),
            ("GET", ["v2", "version"]) => Answer::json(
                200,
                &object! { "status" => "success", "version" => self.config.version.as_str() },
            ),
            ("GET", ["v2", "device", "name"]) => Answer::json(
                200,
                &object! { "status" => "success", "deviceName" => self.name.as_str() },
            ),
            ("GET", ["v2", "device", "vpn"]) => Answer::json(
                200,
                &object! { "status" => "success", "vpn" => object! { "enabled" => true, "connected" => false } },
            ),
            ("GET", ["v2", "local", "logs"]) => return Reply::Log,
            ("GET", ["v2", "local", "target-state"]) => Answer::json(200, &self.target_state()),
            ("GET", ["v2", "local", "device-info"]) => {
                let info = object! {
                    "arch" => self.config.arch.as_str(), "deviceType" => self.config.device_type.as_str(),
                };
                Answer::json(200, &object! { "status" => "success", "info" => info })
            }
            ("GET", ["v2", "applications", "state"]) => Answer::json(200, &self.applications_state()),
            ("GET", ["v2", "applications", id, "state"]) => self.application_state(id),
            ("GET", ["v2", "containerId"]) => Answer::json(200, &self.container_ids()),
            ("POST", ["v1", "update"]) => {
                self.update(is_forced(body), body.get("cancel").is_some_and(Json::is_true));
                Answer::empty(204)
            }
            ("POST", ["v1", "reboot"]) => return self.reboot(is_forced(body)),
            ("POST", ["v2", "local", "target-state"]) => return self.post_target(body),
            ("POST", ["v2", "journal-logs"]) => self.journal_logs(body),
            ("POST", ["v2", "applications", id, action]) => return self.act(id, action, body, request),
            (method, _) => not_found(method, &request.path),
        };
        Reply::Answer(answer)
    }

    fn act(&mut self, id: &str, action: &str, body: &Json, request: &Request) -> Reply {
        let Ok(app) = id.parse::<u64>() else {
            return Reply::Answer(Answer::text(400, "Missing app id"));
        };
        if self.config.managed && !self.is_in_scope(app, request.key.as_deref()) {
            return Reply::Answer(Answer::failed(401, "Unauthorized"));
        }
        match action {
            "restart" => self.restart_app(app, is_forced(body)),
            "restart-service" => self.restart_service(app, body),
            "stop-service" => self.stop_service(app, body),
            "start-service" => self.start_service(app, body),
            _ => Reply::Answer(not_found(&request.method, &request.path)),
        }
    }

    /// `POST /v2/local/target-state`: replaces the whole target; answered before anything is done.
    fn post_target(&mut self, body: &Json) -> Reply {
        match parse_local(body, &self.config.device_uuid) {
            Err(Refusal::Crash) => {
                self.note("TypeError: Cannot read properties of undefined (reading 'commit')");
                let now = self.now;
                self.crash(now);
                Reply::Dropped
            }
            Err(Refusal::Invalid(message)) => Reply::Answer(Answer::failed(400, &message)),
            Ok(target) => {
                self.set_target(target);
                self.trigger(is_forced(body), false);
                Reply::Answer(Answer::json(
                    200,
                    &object! { "status" => "success", "message" => "OK" },
                ))
            }
        }
    }

    /// `POST /v1/update`: unmanaged it does nothing; managed it asks the backend. A *changed* target implies `cancel`;
    /// an unchanged one is tried again only with `cancel` (observed).
    fn update(&mut self, force: bool, cancel: bool) {
        if !self.config.managed {
            return;
        }
        let fresh = self.backend.clone().filter(|target| *target != self.target);
        let changed = fresh.is_some();
        if let Some(target) = fresh {
            self.set_target(target);
        }
        if changed || self.target_version > 0 {
            self.trigger(force, cancel || changed);
        }
    }

    /// The target that the backend serves at the next poll: a device's part of a v3 target.
    ///
    /// # Errors
    /// The Supervisor's text when it is not valid; the real one ignores the reply and keeps its target.
    pub fn set_backend_target(&mut self, device: &Json) -> Result<(), String> {
        self.backend = Some(parse_v3(device, &self.config.device_uuid)?);
        Ok(())
    }

    /// With or without a backend.
    pub fn set_managed(&mut self, managed: bool) {
        self.config.managed = managed;
    }

    /// The API key of a service, as in its environment.
    pub fn service_key(&self, app: u64, service: &str) -> String {
        environment::api_key(&self.config, app, service)
    }

    fn is_allowed(&self, key: Option<&str>) -> bool {
        !self.config.managed || self.apps_of_key(key).is_some()
    }

    fn is_in_scope(&self, app: u64, key: Option<&str>) -> bool {
        self.apps_of_key(key)
            .is_some_and(|scope| scope.is_none_or(|scope| scope == app))
    }

    /// `None`: not a key. `Some(None)`: the global key. `Some(Some(app))`: the key of one app.
    fn apps_of_key(&self, key: Option<&str>) -> Option<Option<u64>> {
        let key = key?;
        if key == self.config.api_key {
            return Some(None);
        }
        let services = self
            .target
            .apps
            .iter()
            .flat_map(|app| app.services.iter().map(|s| (app.id, s.name.as_str())));
        let containers = self
            .containers
            .iter()
            .map(|container| (container.app_id, container.service.as_str()));
        services
            .chain(containers)
            .find(|(app, service)| environment::api_key(&self.config, *app, service) == key)
            .map(|(app, _)| Some(app))
    }

    fn journal_logs(&self, body: &Json) -> Answer {
        let count = body
            .get("count")
            .and_then(Json::as_id)
            .and_then(|count| usize::try_from(count).ok());
        let skip = self.journal.len().saturating_sub(count.unwrap_or(usize::MAX));
        let lines: String = self.journal[skip..]
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        Answer {
            status: 200,
            content_type: None,
            body: lines,
        }
    }
}

fn not_found(method: &str, path: &str) -> Answer {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n<body>\n<pre>Cannot {method} {path}</pre>\n</body>\n</html>\n"
    );
    Answer::text(404, &body)
}

/// As Express reads it: no body, or one without the content type of JSON, is an empty object.
fn read_body(request: &Request) -> Result<Json, String> {
    if !request.json || request.body.is_empty() {
        return Ok(Json::Object(Vec::new()));
    }
    Json::parse(&request.body).map_err(|_| parser_text(&request.body))
}

/// V8's message about a text that is not JSON; exact for the recorded `{bad`, similar for others.
fn parser_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let second = text.chars().nth(1);
    if text.starts_with('{') && second.is_some_and(|c| c != '"' && c != '}') {
        return "Expected property name or '}' in JSON at position 1 (line 1 column 2)".to_owned();
    }
    let start: String = text.chars().take(20).collect();
    let token = start.chars().next().unwrap_or(' ');
    format!("Unexpected token '{token}', \"{start}\" is not valid JSON")
}
