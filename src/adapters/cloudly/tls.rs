//! The certificates that are trusted for Cloudly.

use super::certificates::{CertificateTimes, Verifier};
use super::settings::ConfigError;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// TLS 1.2 and 1.3 with ring. A configured CA replaces the public ones, so that only its certificates are accepted.
///
/// # Errors
/// When the CA contains no valid certificate.
pub(super) fn config(
    ca_pem: Option<&str>,
    times: Arc<CertificateTimes>,
) -> Result<ClientConfig, ConfigError> {
    let roots = match ca_pem {
        Some(pem) => configured_roots(pem)?,
        None => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
    };
    // The provider is passed explicitly, so that no process-wide default affects this client.
    let provider = Arc::new(ring::default_provider());
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| ConfigError::Client(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Client(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { webpki, times }))
        .with_no_client_auth();
    Ok(config)
}

fn configured_roots(pem: &str) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| ConfigError::Ca(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| ConfigError::Ca(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConfigError::Ca("no certificate in it".to_owned()));
    }
    Ok(roots)
}
