//! Whom the port takes for Cloudly.

use super::*;
use crate::adapters::fake::{Fake, Reply, json};
use crate::lifecycle::facts::CallFailureKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

async fn cloudly(ca: &Authority, params: CertificateParams) -> Fake {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    Fake::listen(Some(TlsAcceptor::from(Arc::new(config))), |_| {
        Reply::Bytes(json("200 OK", QUIET))
    })
    .await
}

async fn outcome(fake: &Fake, ca: Option<&Authority>) -> Event {
    let endpoint = Endpoint {
        ca_pem: ca.map(|ca| ca.pem()),
        allow_http: false,
        ..endpoint(format!("https://{}", fake.address))
    };
    let deadlines = Deadlines::default();
    let port = CloudlyPort::with_deadlines(Some(&endpoint), Store::enrolled(), deadlines).unwrap();
    perform(port, vec![heartbeat(1)]).await.pop().unwrap()
}

async fn refusal(fake: &Fake, ca: Option<&Authority>) -> String {
    match outcome(fake, ca).await {
        Event::HeartbeatFailed { failure, .. } => {
            assert_eq!(failure.kind, CallFailureKind::Unreachable);
            assert!(fake.seen().is_empty(), "no token before the certificate is good");
            failure.message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let (ours, other) = (authority(), authority());
    let fake = cloudly(&ours, certificate("127.0.0.1")).await;
    for wrong in [Some(&other), None] {
        let message = refusal(&fake, wrong).await;
        assert!(message.contains("BASEOS_CLOUDLY_CA"), "{message}");
    }
    assert!(matches!(
        outcome(&fake, Some(&ours)).await,
        Event::HeartbeatAnswered { .. }
    ));
}

#[tokio::test]
async fn a_certificate_out_of_its_time_points_at_the_clock() {
    let ca = authority();
    let mut old = certificate("127.0.0.1");
    old.not_before = date_time_ymd(2001, 1, 1);
    old.not_after = date_time_ymd(2002, 1, 1);
    let message = refusal(&cloudly(&ca, old).await, Some(&ca)).await;
    assert!(
        message.contains("expired") && message.contains("clock"),
        "{message}"
    );
    let mut young = certificate("127.0.0.1");
    young.not_before = date_time_ymd(2999, 1, 1);
    young.not_after = date_time_ymd(3000, 1, 1);
    let message = refusal(&cloudly(&ca, young).await, Some(&ca)).await;
    assert!(
        message.contains("not yet valid") && message.contains("clock"),
        "{message}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = authority();
    let fake = cloudly(&ca, certificate("other.example")).await;
    let message = refusal(&fake, Some(&ca)).await;
    assert!(message.contains("another name"), "{message}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_unreachable() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", QUIET))).await;
    let ca = authority();
    let plain = Fake::resetting().await;
    drop(fake);
    let endpoint = Endpoint {
        ca_pem: Some(ca.pem()),
        ..endpoint(format!("https://{plain}"))
    };
    let port = CloudlyPort::with_deadlines(Some(&endpoint), Store::enrolled(), short()).unwrap();
    let event = perform(port, vec![heartbeat(1)]).await.pop().unwrap();
    assert!(
        matches!(event, Event::HeartbeatFailed { failure, .. } if failure.kind == CallFailureKind::Unreachable)
    );
}
