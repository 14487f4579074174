//! TLS before a server: real certificates, valid as usual.

use baseos_interfaces::Timestamp;
use baseos_simulator::clock::unix_millis;
use baseos_simulator::sync::lock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// From yesterday and for three months.
    Good,
    OfAnotherAuthority,
    ForAnotherName,
    /// Since before the agent was built.
    Expired,
    NotYetValid,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Ends when this is dropped.
pub(crate) struct TlsFront {
    address: SocketAddr,
    ca: Arc<Authority>,
    connections: Arc<Mutex<JoinSet<()>>>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Passes decrypted connections on to `server`, with a good certificate.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        Self::start(server, Arc::new(authority()), Certificate::Good).await
    }

    /// Another one, whose certificates are said to come from the same authority.
    pub(crate) async fn with_another_certificate(&self, server: SocketAddr, shown: Certificate) -> Self {
        Self::start(server, self.ca.clone(), shown).await
    }

    async fn start(server: SocketAddr, ca: Arc<Authority>, shown: Certificate) -> Self {
        let name = match shown {
            Certificate::ForAnotherName => "other.example",
            _ => "127.0.0.1",
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let ((y, m, d), (to_y, to_m, to_d)) = match shown {
            Certificate::Expired => ((2001, 1, 1), (2002, 1, 1)),
            Certificate::NotYetValid => ((2999, 1, 1), (3000, 1, 1)),
            _ => (day(-1), day(90)),
        };
        params.not_before = date_time_ymd(y, m, d);
        params.not_after = date_time_ymd(to_y, to_m, to_d);
        let other = authority();
        let issuer = match shown {
            Certificate::OfAnotherAuthority => &other,
            _ => &*ca,
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let accepted = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                lock(&accepted).spawn(async move {
                    if let Ok(mut client) = acceptor.accept(stream).await
                        && let Ok(mut server) = TcpStream::connect(server).await
                    {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            address,
            ca,
            connections,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// Closes all connections, so that the certificate is verified again.
    pub(crate) fn cut_connections(&self) {
        lock(&self.connections).abort_all();
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Year, month and day, so many days from today.
fn day(offset: i64) -> (i32, u8, u8) {
    let millis = unix_millis() + offset * 24 * 3600 * 1000;
    let date = Timestamp::from_millisecond(millis).unwrap().to_string();
    (
        date[..4].parse().unwrap(),
        date[5..7].parse().unwrap(),
        date[8..10].parse().unwrap(),
    )
}
