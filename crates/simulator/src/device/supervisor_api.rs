//! The Supervisor's API over HTTP, with scripted faults.

use crate::device::body::ResponseBody;
use crate::device::faults::{FaultKind, gzip_bomb};
use crate::device::http;
use crate::device::request_log::LoggedRequest;
use crate::device::shared::Shared;
use crate::supervisor::{Answer, Reply, Request};
use hyper::body::{Bytes, Incoming};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Serves while `listening` is true. While it is false the port is closed and all connections with it.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    mut listening: watch::Receiver<bool>,
) {
    loop {
        if listening.wait_for(|up| *up).await.is_err() {
            return;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(_) => {
                    crate::clock::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let shared = Arc::clone(&shared);
        tokio::select! {
            () = http::serve(&open, move |request| answer(Arc::clone(&shared), request)) => {}
            down = listening.wait_for(|up| !*up) => if down.is_err() { return },
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> io::Result<hyper::Response<ResponseBody>> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let query = parts.uri.query().unwrap_or_default();
    let in_query = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("apikey="))
        .map(str::to_owned);
    let in_header = header("authorization").and_then(|value| {
        let key = value
            .strip_prefix("Bearer ")
            .or_else(|| value.strip_prefix("ApiKey "));
        key.map(str::to_owned)
    });
    let body = http::read_body(body).await?;
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        key: in_query.or(in_header),
        json: header("content-type").is_some_and(|kind| kind.contains("json")),
        body: body.to_vec(),
    };
    let fault = shared.faults().take(&request.method, &request.path);
    let logged = shared.log_request(&request, fault);
    let result = respond(&shared, &request, fault).await;
    shared.log_status(
        logged,
        result.as_ref().ok().map(|response| response.status().as_u16()),
    );
    result
}

async fn respond(
    shared: &Arc<Shared>,
    request: &Request,
    fault: Option<FaultKind>,
) -> io::Result<hyper::Response<ResponseBody>> {
    let json = Some("application/json; charset=utf-8");
    match fault {
        Some(FaultKind::Hang) => std::future::pending().await,
        Some(FaultKind::Slow { millis }) => crate::clock::sleep(Duration::from_millis(millis)).await,
        Some(FaultKind::Status { code }) => {
            let body = r#"{"status":"failed","message":"scripted fault"}"#;
            return build(code, json, ResponseBody::whole(body), None);
        }
        Some(FaultKind::Unauthorized) => {
            return build(
                401,
                Some("text/plain; charset=utf-8"),
                ResponseBody::whole("Unauthorized"),
                None,
            );
        }
        Some(FaultKind::Garbage) => {
            return build(200, json, ResponseBody::whole(&b"\x00\xff{]garbage"[..]), None);
        }
        Some(FaultKind::EndlessBody) => {
            let piece = format!("[{}", "0,".repeat(4096));
            return build(200, json, ResponseBody::Endless(piece.into()), None);
        }
        Some(FaultKind::GzipBomb) => {
            return build(
                200,
                json,
                ResponseBody::whole(gzip_bomb()),
                Some(("content-encoding", "gzip".to_owned())),
            );
        }
        Some(FaultKind::Dropped) => return Err(dropped()),
        _ => {}
    }
    let answer = match perform(shared, request).await? {
        Performed::Answer(answer) => answer,
        Performed::Log(lines) => return stream_log(fault, lines),
    };
    let Answer {
        status,
        content_type,
        body,
    } = answer;
    match fault {
        Some(FaultKind::DroppedAfter) => Err(dropped()),
        Some(FaultKind::WrongContentType) => {
            build(status, Some("text/plain"), ResponseBody::whole(body), None)
        }
        Some(FaultKind::Truncated) => {
            let half = body.as_bytes()[..body.len() / 2].to_vec();
            let length = ("content-length", body.len().max(1).to_string());
            build(
                status,
                content_type,
                ResponseBody::Broken(Some(half.into())),
                Some(length),
            )
        }
        _ => build(status, content_type, ResponseBody::whole(body), None),
    }
}

enum Performed {
    Answer(Answer),
    Log(mpsc::UnboundedReceiver<Bytes>),
}

/// The log as a stream, with the faults that fit one.
fn stream_log(
    fault: Option<FaultKind>,
    mut lines: mpsc::UnboundedReceiver<Bytes>,
) -> io::Result<hyper::Response<ResponseBody>> {
    let kind = Some("application/x-ndjson");
    match fault {
        Some(FaultKind::DroppedAfter) => Err(dropped()),
        Some(FaultKind::WrongContentType) => {
            build(200, Some("text/plain"), ResponseBody::Stream(lines), None)
        }
        Some(FaultKind::Truncated) => {
            let first = lines.try_recv().unwrap_or_default();
            let half = first.slice(..first.len() / 2);
            build(200, kind, ResponseBody::Broken(Some(half)), None)
        }
        _ => build(200, kind, ResponseBody::Stream(lines), None),
    }
}

async fn perform(shared: &Arc<Shared>, request: &Request) -> io::Result<Performed> {
    match shared.with(|model, now| model.handle(now, request)) {
        Reply::Answer(answer) => Ok(Performed::Answer(answer)),
        Reply::Log => Ok(Performed::Log(shared.log_streams.open())),
        Reply::Dropped => Err(dropped()),
        Reply::Later(ticket) => {
            let (sender, receiver) = oneshot::channel();
            shared.wait_for(ticket, sender);
            receiver.await.map(Performed::Answer).map_err(|_| dropped())
        }
    }
}

fn build(
    status: u16,
    content_type: Option<&str>,
    body: ResponseBody,
    extra: Option<(&str, String)>,
) -> io::Result<hyper::Response<ResponseBody>> {
    let mut response = hyper::Response::builder().status(status);
    if let Some(kind) = content_type {
        response = response.header("content-type", kind);
    }
    if let Some((name, value)) = extra {
        response = response.header(name, value);
    }
    response.body(body).map_err(io::Error::other)
}

fn dropped() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "no answer because of a scripted fault",
    )
}

impl Shared {
    fn log_request(&self, request: &Request, fault: Option<FaultKind>) -> usize {
        let mut requests = self.requests();
        requests.push(LoggedRequest {
            at_millis: u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX),
            method: request.method.clone(),
            path: request.path.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            fault,
            status: None,
        });
        requests.len() - 1
    }

    fn log_status(&self, index: usize, status: Option<u16>) {
        if let Some(logged) = self.requests().get_mut(index) {
            logged.status = status;
        }
    }
}
