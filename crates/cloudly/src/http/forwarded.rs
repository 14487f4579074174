//! Who a request comes from when a trusted proxy brings it: what the proxy says in `X-Forwarded-For`.

use super::extract::Shared;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Replaces the address of a trusted proxy by its client's.
pub(super) async fn note_client(State(app): Shared, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = client(peer.ip(), request.headers(), &app.settings.trusted_proxies);
        if client != peer.ip() {
            request
                .extensions_mut()
                .insert(ConnectInfo(SocketAddr::new(client, 0)));
        }
    }
    next.run(request).await
}

/// The last address that no trusted proxy has. What stands before it, anybody may have written.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    };
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for named in value.to_str().unwrap_or_default().rsplit(',') {
            if !is_trusted(client) {
                return client;
            }
            match address(named.trim()) {
                Some(address) => client = address,
                None => return client,
            }
        }
    }
    client
}

/// Some proxies write the port too, and IPv6 in brackets.
fn address(named: &str) -> Option<IpAddr> {
    let bare = named.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let with_port = || named.parse().map(|address: SocketAddr| address.ip());
    bare.unwrap_or(named).parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_clients() {
        let trusted: Vec<IpNet> = ["127.0.0.0/8", "2001:db8::/32"]
            .map(|network| network.parse().unwrap())
            .into();
        for (peer, forwarded, expected) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1, 2001:db8::1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1", "2001:db8::1,127.0.0.2"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("127.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("127.0.0.1", &["[2001:db9::1]"], "2001:db9::1"),
            ("127.0.0.1", &["127.0.0.3, 127.0.0.2"], "127.0.0.3"),
            ("192.0.2.7", &["192.0.2.1"], "192.0.2.7"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let found = client(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }
}
