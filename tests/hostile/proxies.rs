//! The way to Cloudly leads through an HTTP proxy.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use crate::support::proxy::{Behaviour, Proxy};
use crate::support::scripted_server::{ScriptedServer, json_reply};
use crate::support::tls_front::TlsFront;
use baseos_simulator::harness::{ensure, wait_until};
use serde_json::json;

/// As it stands in an address: `edge`, `p@ss w0rd`.
const LOGIN: &str = "edge:p%40ss%20w0rd@";

/// Cloudly behind TLS, and an agent that knows both; not started yet.
async fn agent_and_cloudly() -> (ScriptedServer, TlsFront, AgentProcess) {
    let cloudly = ScriptedServer::start().await;
    let tls = TlsFront::before(cloudly.address()).await;
    let agent = AgentProcess::new()
        .with_cloudly(&tls.url(), &cloudly.join_token)
        .with("BASEOS_CLOUDLY_CA", &tls.ca_pem());
    (cloudly, tls, agent)
}

fn assert_tunnelled(proxy: &Proxy, tls: &TlsFront) {
    let requests = proxy.requests();
    let tunnel = format!("CONNECT {} HTTP/1.1", tls.url().trim_start_matches("https://"));
    assert!(
        !requests.is_empty() && requests.iter().all(|line| *line == tunnel),
        "{requests:?}"
    );
}

#[tokio::test]
async fn tls_to_cloudly_goes_through_a_tunnel_with_and_without_a_login() {
    for (behaviour, login) in [(Behaviour::Works, ""), (Behaviour::WantsLogin, LOGIN)] {
        let proxy = Proxy::start(behaviour).await;
        let (_cloudly, tls, agent) = agent_and_cloudly().await;
        let mut agent = agent.with("BASEOS_PROXY", &proxy.url(login));
        agent.start().await;
        agent.wait_connected().await.unwrap();
        assert_tunnelled(&proxy, &tls);
        let config = agent.run_command(&["config"]).await;
        let shown = String::from_utf8_lossy(&config.stdout).into_owned();
        assert!(!(shown + &agent.log()).contains("w0rd"));
    }
}

#[tokio::test]
async fn plain_http_is_forwarded_by_the_proxy_with_the_login() {
    let proxy = Proxy::start(Behaviour::WantsLogin).await;
    let cloudly = ScriptedServer::start().await;
    let mut agent = AgentProcess::new()
        .with_cloudly(&cloudly.url(), &cloudly.join_token)
        .with("BASEOS_PROXY", &proxy.url(LOGIN));
    agent.start().await;
    agent.wait_connected().await.unwrap();
    let requests = proxy.requests();
    let forwarded = format!("POST {}/baseos/v1/nodes/register HTTP/1.1", cloudly.url());
    assert_eq!(requests.first(), Some(&forwarded), "{requests:?}");
}

#[tokio::test]
async fn a_proxy_that_does_not_let_the_agent_through_is_named_and_never_bypassed() {
    for (behaviour, login, reason) in [
        (
            Behaviour::WantsLogin,
            "",
            "does not accept the user name and password",
        ),
        (
            Behaviour::WantsLogin,
            "edge:wrong@",
            "does not accept the user name and password",
        ),
        (Behaviour::Refuses, "", "refuses to connect to Cloudly"),
        (
            Behaviour::Closes,
            "",
            "no connection to Cloudly through the proxy",
        ),
        (Behaviour::Hangs, "", "through the proxy"),
    ] {
        let proxy = Proxy::start(behaviour).await;
        let (cloudly, _tls, agent) = agent_and_cloudly().await;
        let mut agent = agent.with("BASEOS_PROXY", &proxy.url(login));
        agent.start().await;
        let address = proxy.address().to_string();
        let named = agent.wait("the proxy is named", |status| {
            status.summary.contains(reason) && status.summary.contains(&address)
        });
        let status = named.await.unwrap();
        assert!(!status.summary.contains("wrong"), "{}", status.summary);
        assert_eq!(cloudly.connections(), 0, "{behaviour:?}");
        // A proxy that lets it through again ends the outage.
        if login.is_empty() {
            proxy.set_behaviour(Behaviour::Works);
            agent.wait_connected().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_on_the_bypass_list_is_called_directly() {
    let proxy = Proxy::start(Behaviour::Refuses).await;
    let (_cloudly, _tls, agent) = agent_and_cloudly().await;
    let mut agent = agent
        .with("BASEOS_PROXY", &proxy.url(""))
        .with("BASEOS_NO_PROXY", "internal.example,127.0.0.0/8");
    agent.start().await;
    agent.wait_connected().await.unwrap();
    assert!(proxy.requests().is_empty());
}

/// A Supervisor that tells of this proxy of the host, and nothing else.
async fn supervisor_with_proxy(proxy: &Proxy) -> ScriptedServer {
    let supervisor = ScriptedServer::start().await;
    let port = proxy.address().port();
    supervisor.set_script(move |request| {
        let config = json!({ "network": { "hostname": "edge", "proxy": {
            "type": "http-connect", "ip": "127.0.0.1", "port": port, "login": "edge", "password": "p@ss w0rd",
        } } });
        Some(if request.path.starts_with("/v1/device/host-config") {
            json_reply("200 OK", &config)
        } else {
            json_reply("404 Not Found", &json!({}))
        })
    });
    supervisor
}

#[tokio::test]
async fn the_hosts_proxy_is_used_when_none_is_configured_and_passed_by_while_it_fails() {
    let proxy = Proxy::start(Behaviour::WantsLogin).await;
    let supervisor = supervisor_with_proxy(&proxy).await;
    let (_cloudly, tls, agent) = agent_and_cloudly().await;
    let mut agent = agent.with_supervisor(&supervisor.url());
    agent.start().await;
    agent.wait_connected().await.unwrap();
    // The first call may have left before the Supervisor had answered.
    tls.cut_connections();
    let tunnelled = wait_until("the proxy is used", LIMIT, async || {
        ensure(!proxy.requests().is_empty(), || agent.log_tail())
    });
    tunnelled.await.unwrap();
    assert_tunnelled(&proxy, &tls);
    agent.wait_connected().await.unwrap();
    proxy.set_behaviour(Behaviour::Refuses);
    tls.cut_connections();
    agent
        .wait("a call fails or goes past the proxy", |status| {
            status.cloudly.connected
        })
        .await
        .unwrap();
    assert!(!agent.log().contains("w0rd"));
}

#[tokio::test]
async fn direct_switches_the_hosts_proxy_off() {
    let proxy = Proxy::start(Behaviour::WantsLogin).await;
    let supervisor = supervisor_with_proxy(&proxy).await;
    let (_cloudly, tls, agent) = agent_and_cloudly().await;
    let mut agent = agent
        .with_supervisor(&supervisor.url())
        .with("BASEOS_PROXY", "direct");
    agent.start().await;
    agent.wait_connected().await.unwrap();
    tls.cut_connections();
    agent.wait_connected().await.unwrap();
    assert!(proxy.requests().is_empty());
}
