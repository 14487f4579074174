//! `cloudly serve`.

use super::arguments::{Global, path};
use super::output::Outcome;
use clap::{Args, ValueEnum};
use cloudly_baseos::{Clock, Server, Settings, TlsFiles};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "CLOUDLY_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: String,
    /// The server's certificate with those between it and the authority, PEM: serves https. A renewed file is taken up with the
    /// next connection
    #[arg(long, env = "CLOUDLY_TLS_CERT", value_name = "FILE", value_parser = path())]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, env = "CLOUDLY_TLS_KEY", value_name = "FILE", value_parser = path())]
    tls_key: Option<PathBuf>,
    /// Where nodes and people reach this server, if a proxy stands before it
    #[arg(long, env = "CLOUDLY_PUBLIC_URL")]
    public_url: Option<String>,
    /// The file with the key of all token hashes; made at the first start [default: `token-pepper` beside the database]
    #[arg(long, env = "CLOUDLY_TOKEN_PEPPER_FILE", value_parser = path())]
    token_pepper_file: Option<PathBuf>,
    /// A join token, good for 24 h from the first start that sees it (`cloudly token generate` makes one)
    #[arg(long, env = "CLOUDLY_BASEOS_JOIN_TOKEN", hide_env_values = true)]
    baseos_join_token: Option<SecretString>,
    /// How many nodes that join token enrols
    #[arg(long, env = "CLOUDLY_BASEOS_JOIN_TOKEN_USES", default_value_t = 1)]
    baseos_join_token_uses: u32,
    /// Heartbeat interval of nodes with nothing to do, seconds
    #[arg(long, env = "CLOUDLY_HEARTBEAT_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    heartbeat_seconds: u32,
    /// Heartbeat interval of nodes at work on an update, seconds
    #[arg(long, env = "CLOUDLY_ACTIVE_HEARTBEAT_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    active_heartbeat_seconds: u32,
    /// Shortest time between two heartbeats of a node, seconds
    #[arg(long, env = "CLOUDLY_MIN_HEARTBEAT_SECONDS", default_value_t = 10)]
    min_heartbeat_seconds: u32,
    /// How many connections may be open; the one that has been idle for longest makes room for another one
    #[arg(long, env = "CLOUDLY_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Proxies whose `X-Forwarded-For` is believed, e.g. 127.0.0.1,10.0.0.7 (or networks): only the proxies' own addresses, not
    /// a network that clients are in
    #[arg(long, env = "CLOUDLY_TRUSTED_PROXIES", default_value = "", hide_default_value = true, value_parser = networks)]
    trusted_proxies: Networks,
    /// What to log: a level, or `target=level` pairs
    #[arg(long, env = "CLOUDLY_LOG", default_value = "info", value_parser = log_filter)]
    log: Targets,
    /// How to log
    #[arg(long, env = "CLOUDLY_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Debug)]
struct Networks(Vec<IpNet>);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Both or none.
fn tls_files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, &'static str> {
    let given = |path: &PathBuf| !path.as_os_str().is_empty();
    match (certificate.filter(given), key.filter(given)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => {
            Err("the key of the TLS certificate is not given: add --tls-key (CLOUDLY_TLS_KEY)")
        }
        (None, Some(_)) => {
            Err("the certificate of the TLS key is not given: add --tls-cert (CLOUDLY_TLS_CERT)")
        }
    }
}

/// `host:port`, or an IPv6 address in brackets with a port.
fn address(text: &str) -> Result<String, &'static str> {
    let right = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if right {
        Ok(text.to_owned())
    } else {
        Err("use address:port, e.g. 127.0.0.1:8080, [::]:8080 or 0.0.0.0:0")
    }
}

/// Addresses or networks, separated by commas; none is fine.
fn networks(text: &str) -> Result<Networks, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let networks = parts.map(|part| {
        let address = part.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| part.parse())
            .map_err(|_| format!("`{part}` is no address and no network: use e.g. 127.0.0.1 or 10.0.0.0/8"))
    });
    networks.collect::<Result<_, _>>().map(Networks)
}

/// Stricter than `Targets::from_str`, which takes a mistyped level for a target to log, so that nothing else is.
fn log_filter(text: &str) -> Result<Targets, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // Compose files set what they leave out to nothing.
    let text = if text.trim().is_empty() { "info" } else { text };
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim().to_ascii_lowercase()),
            None => (None, part.to_ascii_lowercase()),
        };
        let in_target = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
        let known_target = target.is_none_or(|target| !target.is_empty() && target.chars().all(in_target));
        let level = Some(level)
            .filter(|level| known_target && LEVELS.contains(&level.as_str()))
            .and_then(|level| level.parse::<LevelFilter>().ok())
            .ok_or_else(|| {
                format!(
                    "`{part}` is no level and no target=level: use {} or e.g. info,cloudly_baseos=debug",
                    LEVELS.join(", ")
                )
            })?;
        targets = match target {
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

pub(super) async fn run(serve: Serve, global: &Global) -> Outcome {
    // Standard output has only the line that says where the server listens.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(serve.log);
    match serve.log_format {
        LogFormat::Text => registry.with(layer).try_init()?,
        LogFormat::Json => registry.with(layer.json()).try_init()?,
    }
    // Compose files set what they leave out to nothing: an empty value counts as none.
    let mut settings = Settings::new(global.database()?);
    settings.listen = serve.listen;
    settings.tls = tls_files(serve.tls_cert, serve.tls_key)?;
    settings.public_url = serve.public_url.filter(|url| !url.is_empty());
    settings.pepper_file = serve
        .token_pepper_file
        .filter(|path| !path.as_os_str().is_empty());
    settings.admin_token_file = global.token_file().cloned();
    settings.baseos_join_token = serve
        .baseos_join_token
        .filter(|token| !token.expose_secret().is_empty());
    settings.baseos_join_token_uses = serve.baseos_join_token_uses;
    settings.heartbeat_seconds = serve.heartbeat_seconds;
    settings.active_heartbeat_seconds = serve.active_heartbeat_seconds;
    settings.max_connections = serve.max_connections as usize;
    settings.trusted_proxies = serve.trusted_proxies.0;
    settings.min_heartbeat_seconds = serve.min_heartbeat_seconds;
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::bind(settings, Clock::system()).await?;
    let mut out = io::stdout();
    writeln!(
        out,
        "cloudly listening on {}://{}",
        server.scheme(),
        server.address()
    )?;
    out.flush()?;
    server.serve(stop_signal(terminate, interrupt)).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
}

#[cfg(test)]
mod tests {
    use super::{address, log_filter, networks};

    #[test]
    fn an_address_to_listen_on_has_a_port() {
        for good in ["127.0.0.1:8080", "[::1]:0", "localhost:80"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", "foo", ":80", "127.0.0.1", "foo:", "foo:port", "foo:70000"] {
            assert!(address(bad).unwrap_err().contains("127.0.0.1:8080"), "{bad:?}");
        }
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        for (good, count) in [("", 0), ("127.0.0.1", 1), ("::1, 10.0.0.0/8,fd00::/8", 3)] {
            assert_eq!(networks(good).unwrap().0.len(), count, "{good:?}");
        }
        for bad in ["proxy", "10.0.0.0/33", "127.0.0.1:80"] {
            assert!(networks(bad).unwrap_err().contains("10.0.0.0/8"), "{bad:?}");
        }
    }

    #[test]
    fn a_log_filter_has_levels_and_targets_with_levels() {
        for good in [
            "",
            "info",
            "WARN",
            "off",
            "info,hyper=off",
            " debug , cloudly_baseos::http = trace",
        ] {
            assert!(log_filter(good).is_ok(), "{good:?}");
        }
        for bad in [
            "lod",
            "3",
            "info,lod",
            "hyper=lod",
            "hyper=",
            "=info",
            "a b=info",
            "hyper[x]=info",
        ] {
            let error = log_filter(bad).unwrap_err();
            assert!(error.contains("use off, error, warn, info"), "{bad:?}: {error}");
        }
    }
}
