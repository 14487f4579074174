//! Verifies Cloudly's certificate on a device whose wall clock may be wrong.

use baseos_interfaces::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// More certificates than a chain has; each may move the time at which the chain is tried once.
const TRIES: usize = 8;

/// The times that count for a certificate's validity besides the wall clock's.
#[derive(Debug, Default)]
pub(super) struct CertificateTimes(Mutex<Option<UnixTime>>);

impl CertificateTimes {
    /// `None`: the wall clock's time alone.
    pub(super) fn set(&self, since: Option<Timestamp>) {
        let since = since.map(|since| {
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(since.as_second()).unwrap_or(0)))
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<UnixTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies as rustls does: chain, name, usage and signatures always. Only the time differs, and only while the wall
/// clock is not trusted: then the chain may be valid by the wall clock or at any time since a lower bound, because the
/// present is one of those times. Certificates that had expired before the bound stay refused.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) webpki: Arc<WebPkiServerVerifier>,
    pub(super) times: Arc<CertificateTimes>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify_at = |time| {
            self.webpki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, time)
        };
        let Some(since) = self.times.since() else {
            return verify_at(now);
        };
        if now >= since
            && let Ok(verified) = verify_at(now)
        {
            return Ok(verified);
        }
        // The first time since then at which no certificate of the chain is still to become valid.
        let mut time = since;
        for _ in 0..TRIES {
            match verify_at(time) {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) if not_before > time => time = not_before,
                verified => return verified,
            }
        }
        verify_at(time)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
