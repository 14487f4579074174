//! Settings that cannot be used are refused with what would be right.

use super::super::ConfigError;
use super::*;

fn refused(change: impl FnOnce(&mut CloudlySettings)) -> String {
    let mut settings = settings("https://cloudly.example");
    settings.allow_http = false;
    change(&mut settings);
    match CloudlyPort::new(settings, Arc::<Store>::default()) {
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
        let error = refused(|settings| url.clone_into(&mut settings.url));
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
        let error = refused(|settings| settings.ca_pem = Some(pem.into()));
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}

#[test]
fn the_public_authorities_are_compiled_in() {
    let settings = CloudlySettings {
        allow_http: false,
        ..settings("https://cloudly.example/base/")
    };
    assert!(CloudlyPort::new(settings, Arc::<Store>::default()).is_ok());
    let version = refused(|settings| settings.agent_version = "0.1\n".to_owned());
    assert_eq!(version, ConfigError::Version.to_string());
}
