//! The proxy to Cloudly.

use super::*;
use crate::proxy::ProxyChoice;

fn fixed(env: &[(&str, &str)]) -> (String, Vec<String>) {
    let settings = load_env(env).unwrap();
    match settings.proxy {
        Some(ProxyChoice::Fixed(proxy)) => (proxy.address().to_owned(), settings.warnings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proxy_is_an_address_direct_or_the_hosts() {
    let (address, warnings) = fixed(&[("BASEOS_PROXY", "http://proxy.example:3128")]);
    assert_eq!(
        (address.as_str(), warnings.len()),
        ("http://proxy.example:3128", 0)
    );
    let direct = load_env(&[("BASEOS_PROXY", "direct")]).unwrap();
    assert!(matches!(direct.proxy, Some(ProxyChoice::Direct)));
    assert!(load_env(&[]).unwrap().proxy.is_none());
    let file = "proxy = \"http://proxy.example\"\nno_proxy = \"internal.example\"\n";
    let settings = load_all(file, &[], &Overrides::default()).unwrap();
    assert!(matches!(settings.proxy, Some(ProxyChoice::Fixed(_))));
}

#[test]
fn the_login_of_a_proxy_is_shown_nowhere() {
    let url = "http://edge:s3cret-w0rd@proxy.example:3128";
    let settings = load_env(&[("BASEOS_PROXY", url)]).unwrap();
    assert_eq!(effective(&settings, "BASEOS_PROXY").0.as_deref(), Some("***"));
    assert!(!format!("{settings:?}").contains("w0rd"));
    let wrong = format!("{url}/path");
    let error = error_of("BASEOS_PROXY", &wrong);
    assert!(
        error.contains("BASEOS_PROXY") && error.contains("http://proxy.example:3128"),
        "{error}"
    );
    assert!(!error.contains("w0rd"), "{error}");
}

#[test]
fn a_bypass_list_has_names_addresses_and_networks() {
    for list in [
        "internal.example",
        ".internal.example, 10.0.0.0/8,fd00::/8",
        "*",
        "192.168.1.7",
    ] {
        let env = [
            ("BASEOS_PROXY", "http://proxy.example"),
            ("BASEOS_NO_PROXY", list),
        ];
        assert!(fixed(&env).1.is_empty(), "{list}");
    }
    for list in ["10.0.0.0/33", "name/8", "http://internal.example", "a b", ","] {
        let error = error_of("BASEOS_NO_PROXY", list);
        assert!(
            error.contains("BASEOS_NO_PROXY") && error.contains("10.0.0.0/8"),
            "{error}"
        );
    }
    let unused = load_env(&[("BASEOS_NO_PROXY", "internal.example")]).unwrap();
    assert!(
        unused.warnings[0].contains("BASEOS_PROXY"),
        "{:?}",
        unused.warnings
    );
}
