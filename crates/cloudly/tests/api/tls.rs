//! TLS with a certificate from files.

use crate::support::{Engine, Program, cloudly, output};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than anything takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(60);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes `tls.crt` and `tls.key` of a new certificate, as a program does that renews one.
    fn issue(&self, dir: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        replace(&dir.join("tls.crt"), &certificate.pem());
        replace(&dir.join("tls.key"), &key.serialize_pem());
    }

    /// A client that trusts this authority only, and keeps no connection.
    fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(self.pem().as_bytes()).unwrap())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

async fn program(authority: &Authority) -> Program {
    Program::start_with(Engine::Sqlite, |dir, command| {
        authority.issue(dir.path());
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        command
            .env("CLOUDLY_TLS_CERT", "tls.crt")
            .env("CLOUDLY_TLS_KEY", "tls.key");
    })
    .await
}

async fn health(client: &Client, program: &Program) -> reqwest::Result<u16> {
    let answer = client.get(format!("{}/healthz", program.url)).send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn a_server_with_a_certificate_answers_those_who_trust_its_authority_and_nobody_in_plain() {
    let authority = Authority::new();
    let program = program(&authority).await;
    assert!(program.url.starts_with("https://"), "{}", program.url);
    assert_eq!(health(&authority.client(), &program).await.unwrap(), 200);
    assert!(health(&Authority::new().client(), &program).await.is_err());
    let plain = program.url.replace("https://", "http://");
    assert!(
        authority
            .client()
            .get(format!("{plain}/healthz"))
            .send()
            .await
            .is_err()
    );

    let cli =
        async |args: &[&str]| output(cloudly(&program.dir).args(args).args(["--url", &program.url])).await;
    for args in [&["healthcheck"][..], &["node", "list"]] {
        let trusted = cli(&[args, &["--ca", "ca.pem"]].concat()).await;
        assert!(trusted.status.success(), "{trusted:?}");
        assert!(!cli(args).await.status.success());
    }
    std::fs::write(program.dir.path().join("empty.pem"), "").unwrap();
    for (file, says) in [
        (
            "missing.pem",
            "missing.pem (`--ca` or CLOUDLY_CA) cannot be used: No such file",
        ),
        (
            "empty.pem",
            "there is no certificate in it; give one or more certificates",
        ),
    ] {
        let refused = cli(&["healthcheck", "--ca", file]).await;
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_without_a_restart_and_one_that_cannot_be_used_is_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let program = program(&before).await;
    let (certificate, key) = (
        program.dir.path().join("tls.crt"),
        program.dir.path().join("tls.key"),
    );
    assert!(health(&before.client(), &program).await.is_ok());
    let good = std::fs::read_to_string(&certificate).unwrap();
    for broken in ["", "no certificate", good.split_at(good.len() / 2).0] {
        replace(&certificate, broken);
        assert!(health(&before.client(), &program).await.is_ok(), "{broken:?}");
    }
    std::fs::remove_file(&key).unwrap();
    assert!(health(&before.client(), &program).await.is_ok());
    after.issue(program.dir.path());
    assert!(health(&before.client(), &program).await.is_err());
    assert!(health(&after.client(), &program).await.is_ok());
}

/// The error of a server that must not start.
async fn refused(dir: &TempDir, options: &[&str]) -> String {
    let mut command = cloudly(dir);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(options)
        .stdout(Stdio::null());
    let output = output(&mut command).await;
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn files_that_do_not_make_a_certificate_with_its_key_are_refused_at_the_start() {
    const BOTH: [&str; 4] = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];
    let dir = TempDir::new().unwrap();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let missing = refused(&dir, &BOTH).await;
    assert!(
        missing.contains("cannot read the file tls.crt for TLS"),
        "{missing}"
    );
    let alone = refused(&dir, &BOTH[..2]).await;
    assert!(alone.contains("add --tls-key (CLOUDLY_TLS_KEY)"), "{alone}");
    let alone = refused(&dir, &BOTH[2..]).await;
    assert!(alone.contains("add --tls-cert (CLOUDLY_TLS_CERT)"), "{alone}");

    let authority = Authority::new();
    authority.issue(dir.path());
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let open = refused(&dir, &BOTH).await;
    assert!(open.contains("chmod 600 tls.key"), "{open}");
    replace(&key, &KeyPair::generate().unwrap().serialize_pem());
    let other = refused(&dir, &BOTH).await;
    assert!(other.contains("cannot be used together"), "{other}");
    replace(&key, &std::fs::read_to_string(&certificate).unwrap());
    let no_key = refused(&dir, &BOTH).await;
    assert!(no_key.contains("tls.key holds no private key"), "{no_key}");
    replace(&certificate, "");
    let no_certificate = refused(&dir, &BOTH).await;
    assert!(
        no_certificate.contains("tls.crt holds no certificate"),
        "{no_certificate}"
    );
}

#[tokio::test]
async fn a_client_that_never_ends_its_handshake_keeps_nobody_out() {
    let authority = Authority::new();
    let program = Program::start_with(Engine::Sqlite, |dir, command| {
        authority.issue(dir.path());
        command
            .args(["--max-connections", "4"])
            .args(["--tls-cert", "tls.crt", "--tls-key", "tls.key"]);
    })
    .await;
    let address = program.url.trim_start_matches("https://");
    let mut half_open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The head of a TLS record with a handshake.
        stream.write_all(&[22, 3, 1]).await.unwrap();
        half_open.push(stream);
    }
    assert_eq!(health(&authority.client(), &program).await.unwrap(), 200);
    // The first of them made room.
    let closed = tokio::time::timeout(LIMIT, half_open[0].read(&mut [0; 16])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}
