//! Invalid settings are refused with a message that says what is valid.

use super::*;

/// The message with which a changed valid endpoint is refused.
fn refusal(change: impl FnOnce(&mut Endpoint)) -> String {
    let mut endpoint = endpoint("https://cloudly.example");
    endpoint.allow_http = false;
    change(&mut endpoint);
    match CloudlyPort::new(Some(&endpoint), ProxyChoice::Direct, Arc::new(EmptyVault)) {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert!(!format!("{error:?}").contains("s3cret"));
            error.to_string()
        }
    }
}

#[test]
fn refuses_a_url_that_is_not_https_or_is_more_than_an_address() {
    let urls = [
        ("http://cloudly.example", "BASEOS_ALLOW_HTTP"),
        ("ftp://cloudly.example", "use https"),
        ("cloudly.example", "https://cloudly.example"),
        ("", "https://cloudly.example"),
        ("https://", "https://cloudly.example"),
        ("https://me:s3cret@cloudly.example", "leave them out"),
        ("https://s3cret@cloudly.example", "leave them out"),
        ("https://cloudly.example/?token=s3cret", "query"),
        ("https://cloudly.example/#s3cret", "fragment"),
    ];
    for (url, text) in urls {
        let error = refusal(|endpoint| url.clone_into(&mut endpoint.url));
        assert!(error.contains(text), "{url}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn refuses_a_ca_that_is_not_a_certificate() {
    for pem in [
        "",
        "not PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = refusal(|endpoint| endpoint.ca_pem = Some(pem.into()));
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}

#[test]
fn an_endpoint_without_a_ca_is_accepted() {
    let endpoint = Endpoint {
        allow_http: false,
        ..endpoint("https://cloudly.example/base/")
    };
    assert!(CloudlyPort::new(Some(&endpoint), ProxyChoice::Direct, Arc::new(EmptyVault)).is_ok());
}

#[tokio::test]
async fn without_an_endpoint_every_call_fails_with_the_missing_setting() {
    let port = CloudlyPort::new(None, ProxyChoice::Direct, RecordingVault::enrolled()).unwrap();
    for event in perform(port, vec![register(1), heartbeat(2)]).await {
        let (Event::RegisterFailed { failure, .. } | Event::HeartbeatFailed { failure, .. }) = event else {
            panic!("{event:?}");
        };
        assert!(failure.message.contains("BASEOS_CLOUDLY_URL"), "{failure:?}");
    }
}
