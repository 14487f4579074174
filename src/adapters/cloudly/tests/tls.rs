//! The certificates that the port accepts.

use super::*;
use crate::adapters::fake::{Reply, json};
use crate::lifecycle::facts::CallFailureKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn certificate(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// A Cloudly with a certificate of `ca`.
pub(super) async fn cloudly(ca: &Authority, params: CertificateParams) -> Fake {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    serve(vec![certificate.der().clone()], &key).await
}

/// A Cloudly with a certificate of an authority that `root` has certified for these years.
pub(super) async fn cloudly_with_intermediate(
    root: &Authority,
    (from, to): (i32, i32),
    params: CertificateParams,
) -> Fake {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.not_before = date_time_ymd(from, 1, 1);
    authority.not_after = date_time_ymd(to, 1, 1);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "intermediate");
    let intermediate = CertifiedIssuer::signed_by(authority, KeyPair::generate().unwrap(), root).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &intermediate).unwrap();
    serve(vec![certificate.der().clone(), intermediate.der().clone()], &key).await
}

async fn serve(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Fake {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    Fake::listen(Some(TlsAcceptor::from(Arc::new(config))), |_| {
        Reply::Bytes(json("200 OK", EMPTY_ANSWER))
    })
    .await
}

/// The result of a heartbeat when `ca` is configured.
async fn heartbeat_result(fake: &Fake, ca: Option<&Authority>) -> Event {
    let endpoint = Endpoint {
        ca_pem: ca.map(|ca| ca.pem()),
        allow_http: false,
        ..endpoint(format!("https://{}", fake.address))
    };
    let port = CloudlyPort::new(Some(&endpoint), ProxyChoice::Direct, RecordingVault::enrolled()).unwrap();
    perform(port, vec![heartbeat(1)]).await.pop().unwrap()
}

/// The message of a heartbeat that fails before the token is sent.
async fn refusal(fake: &Fake, ca: Option<&Authority>) -> String {
    match heartbeat_result(fake, ca).await {
        Event::HeartbeatFailed { failure, .. } => {
            assert_eq!(failure.kind, CallFailureKind::Unreachable);
            assert!(
                fake.seen().is_empty(),
                "no request before the certificate is verified"
            );
            failure.message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_certificates_of_the_configured_authority_are_accepted() {
    let (configured, other) = (authority(), authority());
    let fake = cloudly(&configured, certificate("127.0.0.1")).await;
    for wrong in [Some(&other), None] {
        let message = refusal(&fake, wrong).await;
        assert!(message.contains("BASEOS_CLOUDLY_CA"), "{message}");
    }
    assert!(matches!(
        heartbeat_result(&fake, Some(&configured)).await,
        Event::HeartbeatAnswered { .. }
    ));
}

#[tokio::test]
async fn a_certificate_outside_its_validity_is_refused_with_a_hint_at_the_clock() {
    let ca = authority();
    for (first_year, last_year, text) in [(2001, 2002, "expired"), (2999, 3000, "not yet valid")] {
        let mut params = certificate("127.0.0.1");
        params.not_before = date_time_ymd(first_year, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let message = refusal(&cloudly(&ca, params).await, Some(&ca)).await;
        assert!(message.contains(text) && message.contains("clock"), "{message}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = authority();
    let fake = cloudly(&ca, certificate("other.example")).await;
    let message = refusal(&fake, Some(&ca)).await;
    assert!(message.contains("another name"), "{message}");
}

#[tokio::test]
async fn a_server_that_resets_connections_is_unreachable_over_https() {
    let endpoint = Endpoint {
        ca_pem: Some(authority().pem()),
        ..endpoint(format!("https://{}", Fake::resetting().await))
    };
    let port = CloudlyPort::with_timeouts(
        Some(&endpoint),
        ProxyChoice::Direct,
        RecordingVault::enrolled(),
        short_timeouts(),
    )
    .unwrap();
    let event = perform(port, vec![heartbeat(1)]).await.pop().unwrap();
    assert!(
        matches!(event, Event::HeartbeatFailed { failure, .. } if failure.kind == CallFailureKind::Unreachable)
    );
}
