//! A connection that whoever uses it drives.

use super::Body;
use super::error::HttpError;
use crate::proxy::Route;
use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

/// A TCP connection, plain or with TLS, or a tunnel through a proxy.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) type Stream = TokioIo<Box<dyn Io>>;

pub(super) struct Connection {
    sender: http1::SendRequest<Body>,
    driver: Fuse<http1::Connection<Stream, Body>>,
    /// The proxy that every request is handed to. `None`: the server is at the other end, perhaps through a tunnel.
    proxy: Option<Route>,
}

/// What became of a request.
pub(super) enum Sent {
    Answered(Response<Incoming>),
    /// The connection is closed, and nothing of the request went out.
    Unsent(Request<Body>),
}

impl Connection {
    pub(super) async fn open(stream: Stream, proxy: Option<Route>) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(stream).await?;
        Ok(Self {
            sender,
            driver: driver.fuse(),
            proxy,
        })
    }

    /// The address of the proxy that requests are handed to.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_ref().map(Route::address)
    }

    /// Whether a request can be sent now. What the other end did meanwhile is looked at.
    pub(super) fn is_ready(&mut self) -> bool {
        let ready = drive(&mut self.driver, self.sender.ready()).now_or_never();
        matches!(ready, Some(Ok(())))
    }

    pub(super) async fn send(&mut self, uri: &Uri, mut request: Request<Body>) -> Result<Sent, HttpError> {
        let headers = request.headers_mut();
        if let Some(host) = uri
            .authority()
            .and_then(|host| HeaderValue::from_str(host.as_str()).ok())
        {
            headers.insert(HOST, host);
        }
        *request.uri_mut() = match &self.proxy {
            Some(route) => {
                if let Some(login) = route.login() {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, login.clone());
                }
                uri.clone()
            }
            None => uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from),
        };
        match drive(&mut self.driver, self.sender.try_send_request(request)).await {
            Ok(answer) => Ok(Sent::Answered(answer)),
            Err(mut failure) => match failure.take_message() {
                Some(request) => Ok(Sent::Unsent(request)),
                None => Err(failure.into_error().into()),
            },
        }
    }

    /// Waits for something that needs the connection, like a piece of a body.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.driver, work).await
    }
}

/// Waits for `work` and drives the connection meanwhile. That the connection has ended is told by `work`.
pub(super) async fn drive<T, D: Future + Unpin>(driver: &mut D, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // The second round is for what `work` asks of the connection, such as the next piece of a body.
        for _ in 0..2 {
            let _ = Pin::new(&mut *driver).poll(context);
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}
