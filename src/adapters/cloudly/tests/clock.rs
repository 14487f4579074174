//! Certificates over real TLS while the device's clock is wrong. The clock is the real one, so the certificates' validity
//! is moved instead: for a clock years behind, the certificate is of the future, and so on.

use super::tls::{authority, certificate, cloudly};
use super::*;
use crate::adapters::fake::Fake;
use baseos_interfaces::Timestamp;
use rcgen::{CertificateParams, date_time_ymd};

/// A year that the clock of no test machine is in; the bound for certificates is in one of these.
const PAST: i32 = 2001;
const FUTURE: i32 = 2500;

fn valid(from: i32, to: i32) -> CertificateParams {
    let mut params = certificate("127.0.0.1");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

fn since(year: i32) -> Effect {
    let since: Timestamp = format!("{year}-06-01T00:00:00Z").parse().unwrap();
    Effect::SetCertificateTimes { since: Some(since) }
}

/// Whether a heartbeat is answered after these effects, else why not.
async fn outcome(fake: &Fake, ca: &str, mut effects: Vec<Effect>) -> Result<(), String> {
    let endpoint = Endpoint {
        ca_pem: Some(ca.to_owned()),
        allow_http: false,
        ..endpoint(format!("https://{}", fake.address))
    };
    let port = CloudlyPort::new(Some(&endpoint), ProxyChoice::Direct, RecordingVault::enrolled()).unwrap();
    effects.push(heartbeat(1));
    match perform(port, effects).await.pop().unwrap() {
        Event::HeartbeatAnswered { .. } => Ok(()),
        Event::HeartbeatFailed { failure, .. } => Err(failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_clock_years_behind_or_ahead_accepts_certificates_valid_since_the_build() {
    let ca = authority();
    for (params, bound) in [
        // The clock is years behind: the certificate is issued long after "now", and after the build.
        (valid(2600, 2601), FUTURE),
        // The clock is years behind, and the build is of the certificate's lifetime.
        (valid(2400, 2601), FUTURE),
        // The clock is years ahead: the certificate, issued after the build, has expired.
        (valid(2003, 2004), PAST),
        (valid(2000, 2004), PAST),
        // The clock is right, but not trusted.
        (valid(2000, 2999), PAST),
    ] {
        let fake = cloudly(&ca, params).await;
        assert_eq!(outcome(&fake, &ca.pem(), vec![since(bound)]).await, Ok(()));
    }
}

#[tokio::test]
async fn a_certificate_that_had_expired_before_the_build_is_refused() {
    let ca = authority();
    // Valid by the wall clock, which is before the build and therefore wrong.
    for params in [valid(2000, 2001), valid(2000, 2400)] {
        let fake = cloudly(&ca, params).await;
        let message = outcome(&fake, &ca.pem(), vec![since(FUTURE)]).await.unwrap_err();
        assert!(message.contains("expired"), "{message}");
        assert!(
            fake.seen().is_empty(),
            "no token before the certificate is verified"
        );
    }
}

#[tokio::test]
async fn a_wrong_clock_never_widens_whose_certificates_and_which_names_are_accepted() {
    let (ca, other) = (authority(), authority());
    let fake = cloudly(&ca, valid(2003, 2004)).await;
    let message = outcome(&fake, &other.pem(), vec![since(PAST)]).await.unwrap_err();
    assert!(message.contains("does not trust"), "{message}");
    let mut params = valid(2003, 2004);
    params.subject_alt_names = certificate("other.example").subject_alt_names;
    let fake = cloudly(&ca, params).await;
    let message = outcome(&fake, &ca.pem(), vec![since(PAST)]).await.unwrap_err();
    assert!(message.contains("another name"), "{message}");
}

#[tokio::test]
async fn a_clock_that_is_trusted_again_decides_alone_again() {
    let ca = authority();
    let fake = cloudly(&ca, valid(2003, 2004)).await;
    let effects = vec![since(PAST), Effect::SetCertificateTimes { since: None }];
    let message = outcome(&fake, &ca.pem(), effects).await.unwrap_err();
    assert!(message.contains("expired"), "{message}");
}

#[tokio::test]
async fn the_whole_chain_must_be_valid_at_one_time_since_the_build() {
    let root = authority();
    for (intermediate, leaf, accepted) in [
        ((2002, 2010), (2005, 2006), true),
        ((2002, 2004), (2005, 2006), false),
    ] {
        let fake = tls::cloudly_with_intermediate(&root, intermediate, valid(leaf.0, leaf.1)).await;
        let outcome = outcome(&fake, &root.pem(), vec![since(PAST)]).await;
        assert_eq!(outcome.is_ok(), accepted, "{outcome:?}");
    }
}
