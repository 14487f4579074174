//! The control API, `/sim/…`: for scripts and for use by hand.
//!
//! | call | what |
//! |---|---|
//! | `GET /sim/state` | target, containers, step, boots |
//! | `GET`, `DELETE /sim/requests` | the request log |
//! | `POST /sim/faults` ([`Fault`]), `DELETE /sim/faults` | set one, clear all |
//! | `POST /sim/down`, `/sim/up` | close and open the port |
//! | `POST /sim/restart`, `/sim/crash`, `/sim/power-cycle` | the Supervisor, the device |
//! | `POST /sim/lose-database` | the Supervisor starts again without its database |
//! | `GET /sim/target` | the target, as `GET /v2/local/target-state` has it |
//! | `POST /sim/target` | post a local target as somebody other than the agent |
//! | `POST /sim/backend-target` | a device's part of a v3 target; makes the device managed |
//! | `POST /sim/images` | `{"<reference>": Image}` |
//! | `POST /sim/container/<service>/stop`, `start`, `delete` | as with docker |
//! | `POST`, `DELETE /sim/lock/<app>/<service>` | take and release an update lock |

use crate::device::body::ResponseBody;
use crate::device::faults::Fault;
use crate::device::http;
use crate::device::shared::Shared;
use crate::json::{Json, object};
use crate::supervisor::{Image, Reply, Supervisor};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    http::serve(&listener, move |request| answer(Arc::clone(&shared), request)).await;
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> io::Result<hyper::Response<ResponseBody>> {
    let (parts, body) = request.into_parts();
    let body = http::read_body(body).await?;
    let path = parts.uri.path().trim_start_matches("/sim/").trim_end_matches('/');
    let pieces: Vec<&str> = path.split('/').collect();
    let (status, text) = match act(&shared, parts.method.as_str(), &pieces, &body) {
        Ok(Json::Null) => (
            404,
            object! { "error" => "no such call; `baseos-supervisor-sim --help` lists them" },
        ),
        Ok(done) => (200, done),
        Err(error) => (400, object! { "error" => error.to_string() }),
    };
    let response = hyper::Response::builder()
        .status(status)
        .header("content-type", "application/json");
    response
        .body(ResponseBody::whole(text.to_text()))
        .map_err(io::Error::other)
}

fn act(shared: &Arc<Shared>, method: &str, path: &[&str], body: &[u8]) -> Result<Json, serde_json::Error> {
    match (method, path) {
        ("GET", ["state"]) => return Ok(shared.with(state)),
        ("GET", ["requests"]) => {
            let log = serde_json::to_vec(&*shared.requests())?;
            return Json::parse(&log);
        }
        ("DELETE", ["requests"]) => shared.requests().clear(),
        ("POST", ["faults"]) => shared.faults().add(serde_json::from_slice::<Fault>(body)?),
        ("DELETE", ["faults"]) => {
            shared.clear_faults();
        }
        ("POST", ["down"]) => shared.set_port_closed(true),
        ("POST", ["up"]) => shared.set_port_closed(false),
        ("POST", ["restart"]) => shared.with(Supervisor::restart),
        ("POST", ["lose-database"]) => shared.with(Supervisor::lose_database),
        ("POST", ["crash"]) => shared.with(Supervisor::crash),
        ("POST", ["power-cycle"]) => shared.with(Supervisor::power_cycle),
        ("GET", ["target"]) => return Ok(shared.with(|model, _| model.target_state())),
        ("POST", ["target"]) => return Ok(post_target(shared, body)),
        ("POST", ["backend-target"]) => {
            let device = Json::parse(body)?;
            shared
                .set_backend_target(&device)
                .map_err(serde::de::Error::custom)?;
        }
        ("POST", ["images"]) => {
            let images: BTreeMap<String, Image> = serde_json::from_slice(body)?;
            shared.with(|model, _| model.registry.images.extend(images));
        }
        ("POST", ["container", service, "stop"]) => {
            shared.with(|model, now| model.stop_container(now, service));
        }
        ("POST", ["container", service, "start"]) => {
            shared.with(|model, now| model.start_container(now, service));
        }
        ("POST", ["container", service, "delete"]) => {
            shared.with(|model, now| model.delete_container(now, service));
        }
        ("POST", ["lock", app, service]) => {
            let taken = shared.take_lock(app.parse().unwrap_or(0), service);
            taken.map_err(serde::de::Error::custom)?;
        }
        ("DELETE", ["lock", app, service]) => {
            shared.release_lock(app.parse().unwrap_or(0), service);
        }
        _ => return Ok(Json::Null),
    }
    Ok(object! { "done" => true })
}

fn post_target(shared: &Arc<Shared>, body: &[u8]) -> Json {
    match shared.post_target(body.to_vec()) {
        Reply::Answer(answer) => object! { "status" => u64::from(answer.status), "body" => answer.body },
        _ => object! { "status" => Json::Null },
    }
}

fn state(model: &mut Supervisor, now: std::time::Duration) -> Json {
    model.advance(now);
    let containers: Vec<Json> = model
        .containers()
        .iter()
        .map(|container| {
            object! {
                "name" => container.name(), "service" => container.service.as_str(), "status" => container.status(),
                "image" => container.config.image.as_str(), "starts" => container.incarnation,
            }
        })
        .collect();
    let commits: Vec<Option<String>> = model.target().apps.iter().map(|app| app.commit.clone()).collect();
    object! {
        "up" => model.is_up(), "step" => format!("{:?}", model.step()), "boots" => model.boots(),
        "targetCommits" => commits, "containers" => containers,
    }
}
