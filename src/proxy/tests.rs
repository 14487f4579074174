use super::*;

fn proxy(text: &str) -> Proxy {
    Proxy::parse(text).unwrap()
}

fn route(proxy: &Proxy, url: &str) -> Option<Route> {
    proxy.route(&url.parse().unwrap())
}

#[test]
fn an_address_may_have_credentials_which_nothing_shows() {
    let proxy = proxy("http://edge:p%40ss-w0rd@proxy.example:3128");
    assert_eq!(proxy.address(), "http://proxy.example:3128");
    assert!(!format!("{proxy:?}").contains("w0rd"), "{proxy:?}");
    let route = route(&proxy, "https://cloudly.example/").unwrap();
    assert_eq!(route.uri(), "http://proxy.example:3128/");
    assert_eq!(route.address(), "http://proxy.example:3128");
    // edge:p@ss-w0rd
    assert_eq!(route.login().unwrap(), "Basic ZWRnZTpwQHNzLXcwcmQ=");
    assert!(!format!("{route:?}").contains("ZWRnZTpw"), "{route:?}");
}

#[test]
fn what_is_no_address_of_an_http_proxy_is_refused() {
    for text in [
        "",
        "proxy.example:3128",
        "socks5://proxy.example",
        "https://proxy.example",
        "http://proxy.example/path",
        "http://proxy.example/?a=b",
        "http://",
    ] {
        let error = Proxy::parse(text).unwrap_err();
        assert!(error.contains("http://proxy.example:3128"), "{text}: {error}");
    }
}

#[test]
fn the_bypass_list_has_names_with_subdomains_addresses_and_networks() {
    let list = ["internal.example", "10.0.0.0/8", "192.168.1.7"].map(str::to_owned);
    let proxy = proxy("http://proxy.example:3128").with_bypass(list.into());
    for (url, proxied) in [
        ("https://cloudly.example/", true),
        ("https://cloudly.internal.example/", false),
        ("https://internal.example:8443/", false),
        ("https://notinternal.example/", true),
        ("https://10.4.5.6/", false),
        ("https://192.168.1.7/", false),
        ("https://192.168.1.8/", true),
    ] {
        assert_eq!(route(&proxy, url).is_some(), proxied, "{url}");
    }
    let none = Proxy::parse("http://proxy.example:3128").unwrap();
    assert!(
        route(
            &none.with_bypass(vec!["*".to_owned()]),
            "https://cloudly.example/"
        )
        .is_none()
    );
}

#[test]
fn a_login_of_the_host_may_have_any_characters() {
    let proxy = Proxy::of_host("10.0.0.1", 8080, Some(("a user", "p:/@?#%"))).unwrap();
    assert_eq!(proxy.address(), "http://10.0.0.1:8080");
    let route = route(&proxy, "http://c.example/").unwrap();
    assert_eq!(route.uri(), "http://10.0.0.1:8080/");
    // a user:p:/@?#%
    assert_eq!(route.login().unwrap(), "Basic YSB1c2VyOnA6L0A/IyU=");
    assert_eq!(
        Proxy::of_host("fd00::1", 3128, None).unwrap().address(),
        "http://[fd00::1]:3128"
    );
    assert!(Proxy::of_host("no host", 1, None).is_err());
}

#[test]
fn calls_that_fail_go_past_the_hosts_proxy_and_through_it_in_turn() {
    let host = Arc::new(HostProxy::default());
    let choice = ProxyChoice::Host(host.clone());
    assert!(choice.current().is_none());
    assert!(host.set(Some(proxy("http://proxy.example:3128"))));
    assert!(!host.set(Some(proxy("http://proxy.example:3128"))));
    for through in [true, false, true] {
        assert_eq!(choice.current().is_some(), through);
        choice.note_unreachable();
    }
    assert!(host.set(None) && choice.current().is_none());
    let fixed = ProxyChoice::Fixed(Box::new(proxy("http://proxy.example:3128")));
    fixed.note_unreachable();
    assert!(fixed.current().is_some(), "a configured proxy is the only way");
}
