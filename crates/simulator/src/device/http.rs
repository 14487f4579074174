//! Serving HTTP on a listener.

use crate::device::body::ResponseBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MAX_REQUEST_BYTES: usize = 10 << 20;

/// Accepts connections and answers their requests. Never returns; when its future is dropped, all connections are
/// closed.
pub(crate) async fn serve<F, A>(listener: &TcpListener, answer: F)
where
    F: Fn(hyper::Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = io::Result<hyper::Response<ResponseBody>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let answer = answer.clone();
                connections.spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service_fn(answer))
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

pub(crate) async fn read_body(body: Incoming) -> io::Result<Bytes> {
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await;
    Ok(body.map_err(io::Error::other)?.to_bytes())
}
