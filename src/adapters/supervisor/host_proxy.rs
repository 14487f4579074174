//! The proxy that the host is configured with, as the Supervisor tells it.

use super::client::SupervisorClient;
use super::poll::every;
use super::request::Request;
use crate::lifecycle::facts::SupervisorError;
use crate::proxy::{HostProxy, Proxy};
use baseos_interfaces::token::WireSecret;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Interval of looks until the first answer, and how many there are: the Supervisor may still be starting.
const FIRST_LOOKS: (Duration, u32) = (Duration::from_secs(5), 12);
/// Interval of looks after that.
const LOOKS: Duration = Duration::from_secs(600);

/// `GET /v1/device/host-config`, as far as it is used.
#[derive(Deserialize)]
struct HostConfig {
    #[serde(default)]
    network: Network,
}

#[derive(Default, Deserialize)]
struct Network {
    #[serde(default)]
    proxy: Option<ProxyConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyConfig {
    #[serde(rename = "type")]
    kind: String,
    ip: String,
    port: Port,
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    password: Option<WireSecret>,
    #[serde(default)]
    no_proxy: Vec<String>,
}

/// As a number, or as a text of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Text(String),
}

/// Keeps `host` as the Supervisor says it; does not end.
pub async fn keep_host_proxy(client: SupervisorClient, host: Arc<HostProxy>) {
    if !client.is_configured() {
        return;
    }
    let (interval, most) = FIRST_LOOKS;
    let mut looks = every(interval);
    let mut first_looks = 0..most;
    let mut answered = false;
    loop {
        looks.tick().await;
        let looked = read(&client).await;
        if !answered && (looked.is_ok() || first_looks.next().is_none()) {
            answered = true;
            looks = every(LOOKS);
            // Its first tick comes at once.
            looks.tick().await;
        }
        let Ok(proxy) = looked else {
            // The next look asks again; whether the Supervisor is available is the poller's matter.
            continue;
        };
        let address = proxy.as_ref().map(|proxy| proxy.address().to_owned());
        if host.set(proxy) {
            match address {
                Some(address) => tracing::info!(address, "Cloudly is called through the host's proxy"),
                None => tracing::info!("the host has no proxy any more"),
            }
        }
    }
}

/// # Errors
/// When the Supervisor does not tell.
async fn read(client: &SupervisorClient) -> Result<Option<Proxy>, SupervisorError> {
    let config: HostConfig = client.read(Request::get("/v1/device/host-config")).await?;
    Ok(config.network.proxy.and_then(usable))
}

/// Proxies of types that speak HTTP. The host redirects connections to others by itself.
fn usable(config: ProxyConfig) -> Option<Proxy> {
    if !matches!(config.kind.as_str(), "http-connect" | "http-relay") {
        tracing::info!(
            kind = config.kind,
            "the host's proxy is not an HTTP proxy and is not used"
        );
        return None;
    }
    let port = match config.port {
        Port::Number(port) => port,
        Port::Text(text) => text.parse().ok()?,
    };
    let password = config.password.as_ref().map_or("", WireSecret::expose);
    let login = config.login.as_deref().filter(|login| !login.is_empty());
    let login = login.map(|login| (login, password));
    let proxy = Proxy::of_host(&config.ip, port, login).ok()?;
    Some(proxy.with_bypass(config.no_proxy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::fake::{Fake, Reply, json};
    use crate::adapters::supervisor::tests::client;

    async fn told(answer: &'static str) -> Option<Proxy> {
        let fake = Fake::start(move |_| Reply::Bytes(json("200 OK", answer))).await;
        let proxy = read(&client(fake.address)).await.unwrap();
        assert!(fake.seen()[0].line().starts_with("GET /v1/device/host-config"));
        proxy
    }

    #[tokio::test]
    async fn an_http_proxy_of_the_host_is_read_with_its_login_and_bypass_list() {
        let proxy = told(
            r#"{"network":{"hostname":"edge","proxy":{"type":"http-connect","ip":"10.2.0.1","port":8123,
                "login":"edge","password":"s3cret-w0rd","noProxy":["10.0.0.0/8"]}}}"#,
        );
        let proxy = proxy.await.unwrap();
        assert_eq!(proxy.address(), "http://10.2.0.1:8123");
        assert!(proxy.route(&"https://10.9.9.9/".parse().unwrap()).is_none());
        let route = proxy.route(&"https://cloudly.example/".parse().unwrap()).unwrap();
        // edge:s3cret-w0rd
        assert_eq!(route.login().unwrap(), "Basic ZWRnZTpzM2NyZXQtdzByZA==");
        assert!(!format!("{proxy:?}").contains("s3cret"), "{proxy:?}");
        let relay = told(r#"{"network":{"proxy":{"type":"http-relay","ip":"10.2.0.1","port":"8080"}}}"#);
        assert_eq!(relay.await.unwrap().address(), "http://10.2.0.1:8080");
    }

    #[tokio::test]
    async fn a_host_without_proxy_or_with_another_kind_has_none() {
        for answer in [
            r#"{"network":{"hostname":"edge"}}"#,
            "{}",
            r#"{"network":{"proxy":{"type":"socks5","ip":"10.2.0.1","port":1080}}}"#,
            r#"{"network":{"proxy":{"type":"http-connect","ip":"10.2.0.1","port":"none"}}}"#,
        ] {
            assert!(told(answer).await.is_none(), "{answer}");
        }
    }
}
