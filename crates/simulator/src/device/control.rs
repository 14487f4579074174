//! The control surface: `/sim/…`, for scripts and for trying by hand.
//!
//! | call | what |
//! |---|---|
//! | `GET /sim/state` | target, containers, step, boots |
//! | `GET`, `DELETE /sim/requests` | the request log |
//! | `POST /sim/faults` ([`Fault`]), `DELETE /sim/faults` | set one, clear all |
//! | `POST /sim/down`, `/sim/up` | close and open the port |
//! | `POST /sim/restart`, `/sim/crash`, `/sim/power-cycle` | the Supervisor, the device |
//! | `POST /sim/target` | post a local target as a stranger would |
//! | `POST /sim/backend-target` | a device's part of a v3 target; makes the device managed |
//! | `POST /sim/images` | `{"<reference>": Image}` |
//! | `POST /sim/container/<service>/stop`, `start`, `delete` | by hand |
//! | `POST`, `DELETE /sim/lock/<app>/<service>` | take and give back an update lock |

use crate::device::body::Reply as Body;
use crate::device::{Fault, Inner};
use crate::json::{Json, object};
use crate::supervisor::{Image, LOCK_NAMES, Reply, Request, Supervisor};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let inner = Arc::clone(&inner);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                    let io = TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(inner: Arc<Inner>, request: hyper::Request<Incoming>) -> io::Result<hyper::Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, 10 << 20)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let path = parts.uri.path().trim_start_matches("/sim/").trim_end_matches('/');
    let pieces: Vec<&str> = path.split('/').collect();
    let (status, text) = match act(&inner, parts.method.as_str(), &pieces, &body) {
        Ok(Json::Null) => (
            404,
            object! { "error" => "no such call; see the documentation of device::control" },
        ),
        Ok(done) => (200, done),
        Err(error) => (400, object! { "error" => error.to_string() }),
    };
    let response = hyper::Response::builder()
        .status(status)
        .header("content-type", "application/json");
    response
        .body(Body::whole(text.to_text()))
        .map_err(io::Error::other)
}

fn act(inner: &Arc<Inner>, method: &str, path: &[&str], body: &[u8]) -> Result<Json, serde_json::Error> {
    match (method, path) {
        ("GET", ["state"]) => return Ok(inner.with(state)),
        ("GET", ["requests"]) => {
            let log = serde_json::to_vec(&*inner.requests())?;
            return Json::parse(&log);
        }
        ("DELETE", ["requests"]) => inner.requests().clear(),
        ("POST", ["faults"]) => inner.faults().add(serde_json::from_slice::<Fault>(body)?),
        ("DELETE", ["faults"]) => {
            inner.faults().clear();
            inner.set_up(|(_, closed)| *closed = false);
        }
        ("POST", ["down"]) => inner.set_up(|(_, closed)| *closed = true),
        ("POST", ["up"]) => inner.set_up(|(_, closed)| *closed = false),
        ("POST", ["restart"]) => inner.with(Supervisor::restart),
        ("POST", ["crash"]) => inner.with(Supervisor::crash),
        ("POST", ["power-cycle"]) => inner.with(Supervisor::power_cycle),
        ("POST", ["target"]) => return Ok(foreign_target(inner, body)),
        ("POST", ["backend-target"]) => {
            let device = Json::parse(body)?;
            let refused = inner.with(|model, _| {
                model.set_managed(true);
                model.set_backend_target(&device).err()
            });
            if let Some(error) = refused {
                return Err(serde::de::Error::custom(error));
            }
        }
        ("POST", ["images"]) => {
            let images: BTreeMap<String, Image> = serde_json::from_slice(body)?;
            inner.with(|model, _| model.registry.images.extend(images));
        }
        ("POST", ["container", service, "stop"]) => inner.with(|model, now| model.stop_by_hand(now, service)),
        ("POST", ["container", service, "start"]) => {
            inner.with(|model, now| model.start_by_hand(now, service));
        }
        ("POST", ["container", service, "delete"]) => {
            inner.with(|model, now| model.delete_by_hand(now, service));
        }
        ("POST", ["lock", app, service]) => {
            let dir = inner.lock_dir(app.parse().unwrap_or(0), service);
            let made = std::fs::create_dir_all(&dir)
                .and_then(|()| std::fs::File::create_new(dir.join(LOCK_NAMES[0])));
            made.map_err(serde::de::Error::custom)?;
        }
        ("DELETE", ["lock", app, service]) => {
            let dir = inner.lock_dir(app.parse().unwrap_or(0), service);
            let _ = std::fs::remove_file(dir.join(LOCK_NAMES[0]));
        }
        _ => return Ok(Json::Null),
    }
    Ok(object! { "done" => true })
}

fn foreign_target(inner: &Arc<Inner>, body: &[u8]) -> Json {
    let request = Request {
        method: "POST".to_owned(),
        path: "/v2/local/target-state".to_owned(),
        key: None,
        json: true,
        body: body.to_vec(),
    };
    match inner.with(|model, now| model.handle(now, &request)) {
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
