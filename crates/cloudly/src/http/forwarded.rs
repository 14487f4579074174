//! Who a request comes from when a trusted proxy brings it: what the proxy says in `X-Forwarded-For`.

use crate::clock::Clock;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use baseos_interfaces::Timestamp;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

const FORWARDED_FOR: &str = "x-forwarded-for";
const WARN_EACH_SECONDS: i64 = 3600;
/// The part of an entry that is repeated in the log, characters.
const ENTRY_SHOWN: usize = 64;

/// The proxies that are trusted.
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    clock: Clock,
    warned_at: Mutex<Option<Timestamp>>,
}

/// Replaces the address of a trusted proxy by its client's.
pub(super) async fn note_client(
    State(proxies): State<Arc<Proxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let found = client(peer.ip(), request.headers(), &proxies.networks);
        if let Some(entry) = found.unreadable {
            proxies.warn(found.address, &entry);
        }
        if found.address != peer.ip() {
            request
                .extensions_mut()
                .insert(ConnectInfo(SocketAddr::new(found.address, 0)));
        }
    }
    next.run(request).await
}

impl Proxies {
    pub(super) fn new(networks: Vec<IpNet>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            networks,
            clock,
            warned_at: Mutex::default(),
        })
    }

    /// Clients cannot cause it behind a proxy that is set up well, but each request may.
    fn warn(&self, proxy: IpAddr, entry: &str) {
        if self.warning_is_due(self.clock.now()) {
            tracing::warn!(
                %proxy, entry,
                "a trusted proxy names no address of its client in X-Forwarded-For, so its own counts; let it write one, or \
                 take it out of CLOUDLY_TRUSTED_PROXIES"
            );
        }
    }

    fn warning_is_due(&self, now: Timestamp) -> bool {
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = warned_at
            .is_some_and(|warned| (0..WARN_EACH_SECONDS).contains(&now.duration_since(warned).as_secs()));
        if !rests {
            *warned_at = Some(now);
        }
        !rests
    }
}

#[derive(Debug, PartialEq)]
struct Client {
    address: IpAddr,
    /// What the trusted proxy with this address says instead of an address.
    unreadable: Option<String>,
}

/// The last address that no trusted proxy has. What stands before it, anybody may have written.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let is_trusted = |address: IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    };
    let found = |address, unreadable| Client { address, unreadable };
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for named in text(value).rsplit(',') {
            if !is_trusted(client) {
                return found(client, None);
            }
            match address(named.trim()) {
                Some(address) => client = address,
                None => {
                    let entry = named.trim().chars().take(ENTRY_SHOWN);
                    return found(client, Some(entry.collect()));
                }
            }
        }
    }
    found(client, None)
}

/// Other bytes than ASCII are in no address.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
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
            ("127.0.0.1", &["192.0.2.1, nonsense, 127.0.0.2"], "127.0.0.2"),
            ("127.0.0.1", &["nonsense, 192.0.2.1"], "192.0.2.1"),
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
            assert_eq!(
                found.address,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {forwarded:?}"
            );
            let of_a_proxy = forwarded.iter().any(|value| value.contains(", nonsense"));
            assert_eq!(found.unreadable, of_a_proxy.then(|| "nonsense".to_owned()));
        }
    }

    #[test]
    fn the_warning_comes_once_an_hour() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let proxies = Proxies::new(Vec::new(), Clock::manual(at(0)));
        let due = [0, 1, 3599, 3600, 3601].map(|second| proxies.warning_is_due(at(second)));
        assert_eq!(due, [true, false, false, true, false]);
    }
}
