//! New connections: TCP to whichever address of the server answers first, a proxy's tunnel, TLS.

use super::Body;
use super::connection::{Connection, Io, Stream, drive};
use super::error::HttpError;
use super::limits::Clock;
use crate::proxy::{ProxyChoice, Route};
use futures_util::FutureExt as _;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

/// How the kernel asks whether the other end of a silent connection is still there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    pub(crate) after: Duration,
    pub(crate) interval: Duration,
    pub(crate) retries: u32,
}

pub(crate) struct Connector {
    server: Uri,
    within: Duration,
    tcp: HttpConnector,
    /// `None`: plain HTTP only.
    tls: Option<TlsConnector>,
    proxy: ProxyChoice,
}

type Failed = Box<dyn Error + Send + Sync>;

impl Connector {
    /// Connects to this server without TLS. The limit includes a proxy's answer and the TLS handshake.
    pub(crate) fn new(server: Uri, within: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(within));
        Self {
            server,
            within,
            tcp,
            tls: None,
            proxy: ProxyChoice::Direct,
        }
    }

    #[must_use]
    pub(crate) fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        self.tcp.set_keepalive(Some(keepalive.after));
        self.tcp.set_keepalive_interval(Some(keepalive.interval));
        self.tcp.set_keepalive_retries(Some(keepalive.retries));
        self
    }

    /// TLS, if the server's URL says https.
    #[must_use]
    pub(crate) fn with_tls(mut self, mut config: ClientConfig) -> Self {
        if self.server.scheme() == Some(&Scheme::HTTPS) {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            self.tls = Some(Arc::new(config).into());
        }
        self
    }

    /// Which proxy to use is asked anew with each connection: the host's becomes known, and changes, while the agent
    /// runs.
    #[must_use]
    pub(crate) fn with_proxy(self, proxy: ProxyChoice) -> Self {
        Self { proxy, ..self }
    }

    pub(super) async fn connect(&self, clock: &Clock) -> Result<Connection, HttpError> {
        let proxy = self.proxy.current();
        let route = proxy.and_then(|proxy| proxy.route(&self.server));
        let address = route.as_ref().map(|route| route.address().to_owned());
        match timeout_at(clock.connected_by(self.within), self.open(route)).await {
            Ok(opened) => opened.map_err(|failed| match failed.downcast() {
                Ok(refused) => *refused,
                Err(source) => HttpError::Connect {
                    proxy: address,
                    source,
                },
            }),
            Err(_) => Err(HttpError::ConnectTimeout { proxy: address }),
        }
    }

    async fn open(&self, route: Option<Route>) -> Result<Connection, Failed> {
        let next = route.as_ref().map_or(&self.server, Route::uri);
        let tcp = self.tcp.clone().call(next.clone()).await?.into_inner();
        let (Some(tls), Some(name)) = (&self.tls, self.server.host()) else {
            return Ok(Connection::open(stream(tcp), route).await?);
        };
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())?;
        // One type for both, so that TLS is compiled once.
        let io: Box<dyn Io> = match &route {
            None => Box::new(tcp),
            Some(route) => self.tunnel(tcp, route).await?,
        };
        Ok(Connection::open(stream(tls.connect(name, io).await?), None).await?)
    }

    /// A tunnel to the server through a proxy (CONNECT).
    async fn tunnel(&self, tcp: TcpStream, route: &Route) -> Result<Box<dyn Io>, Failed> {
        let host = self.server.host().unwrap_or_default();
        let server = format!("{host}:{}", self.server.port_u16().unwrap_or(443));
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&server)
            .header(HOST, &server);
        if let Some(login) = route.login() {
            request = request.header(PROXY_AUTHORIZATION, login);
        }
        let (mut sender, driver) = http1::handshake(stream(tcp)).await?;
        let mut driver = driver.with_upgrades().fuse();
        let sending = sender.send_request(request.body(Body::default())?);
        let answer = drive(&mut driver, sending).await?;
        // Whatever was accepted is a tunnel by RFC 9110, but other programs write 200 only, and a page of a captive
        // portal has other ones.
        if answer.status() != StatusCode::OK {
            return Err(Box::new(HttpError::ProxyRefuses {
                proxy: route.address().to_owned(),
                status: answer.status(),
            }));
        }
        let tunnel = drive(&mut driver, hyper::upgrade::on(answer)).await?;
        Ok(Box::new(TokioIo::new(tunnel)))
    }
}

fn stream(io: impl Io + 'static) -> Stream {
    TokioIo::new(Box::new(io))
}
