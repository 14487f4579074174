//! Settings that cannot be used are refused with what would be right.

use super::*;

fn refused(change: impl FnOnce(&mut Endpoint)) -> String {
    let mut endpoint = endpoint("https://cloudly.example");
    endpoint.allow_http = false;
    change(&mut endpoint);
    match CloudlyPort::new(Some(&endpoint), Arc::<Store>::default()) {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert!(!format!("{error:?}").contains("s3cret"));
            error.to_string()
        }
    }
}

#[test]
fn a_url_is_https_and_nothing_but_an_address() {
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
    for (url, says) in urls {
        let error = refused(|endpoint| url.clone_into(&mut endpoint.url));
        assert!(error.contains(says), "{url}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_ca_is_a_certificate() {
    for pem in [
        "",
        "rubbish",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = refused(|endpoint| endpoint.ca_pem = Some(pem.into()));
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}

#[test]
fn the_public_authorities_are_compiled_in() {
    let endpoint = Endpoint {
        allow_http: false,
        ..endpoint("https://cloudly.example/base/")
    };
    assert!(CloudlyPort::new(Some(&endpoint), Arc::<Store>::default()).is_ok());
}

#[tokio::test]
async fn without_an_endpoint_every_call_fails_and_says_which_setting_is_missing() {
    let port = CloudlyPort::new(None, Store::enrolled()).unwrap();
    for event in perform(port, vec![register(1), heartbeat(2)]).await {
        let (Event::RegisterFailed { failure, .. } | Event::HeartbeatFailed { failure, .. }) = event else {
            panic!("{event:?}");
        };
        assert!(failure.message.contains("BASEOS_CLOUDLY_URL"), "{failure:?}");
    }
}
