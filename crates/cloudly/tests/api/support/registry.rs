//! A real registry: the program `docker-registry` (the package of that name) on a loopback port of its own.

use super::api::http;
use super::process::SPAWNING;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const USER: &str = "user";
const PASSWORD: &str = "password";
/// [`USER`] and [`PASSWORD`] as HTTP sends them.
pub(crate) const BASIC_AUTH: &str = "dXNlcjpwYXNzd29yZA==";
/// Of [`USER`] and [`PASSWORD`]: bcrypt, the only form that the registry reads.
const HTPASSWD: &str = "user:$2b$04$n.TzZc5tKGCVX1xRhU8FdunDPBPAL7XudiQWVuj8oFyB3wsKDSDfa\n";
/// Whom it runs as, where the tests run as root.
const NOBODY: u32 = 65534;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    _dir: TempDir,
    /// Ends with this value.
    _process: Child,
    client: reqwest::Client,
    authenticated: bool,
}

/// An image that was pushed.
pub(crate) struct Pushed {
    pub(crate) config_digest: String,
    /// Of its configuration and layers.
    pub(crate) size: u64,
    /// How an index names it.
    descriptor: Value,
}

impl Registry {
    /// One that asks for credentials, if `authenticated`.
    pub(crate) async fn start(authenticated: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let shown = dir.path().display();
        let auth = if authenticated {
            format!("auth: {{htpasswd: {{realm: test, path: {shown}/htpasswd}}}}\n")
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n{auth}storage: {{filesystem: \
             {{rootdirectory: {shown}/data}}}}\n"
        );
        let mut command = Command::new("docker-registry");
        if chown(dir.path(), Some(NOBODY), Some(NOBODY)).is_ok() {
            command.uid(NOBODY).gid(NOBODY);
        }
        write(dir.path(), "config.yml", &config);
        write(dir.path(), "htpasswd", HTPASSWD);
        command
            .env_clear()
            .args(["serve", "config.yml"])
            .current_dir(dir.path())
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = {
            let _guard = SPAWNING.write().await;
            let missing = "the program docker-registry, of the package of that name (tests/run installs it)";
            command.spawn().expect(missing)
        };
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let host = loop {
            let line = log.next_line().await.unwrap().expect("the registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        // What nobody reads would block it in the end.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            host,
            _dir: dir,
            _process: process,
            client: http(),
            authenticated,
        }
    }

    /// Pushes an image of one platform and one layer under a tag, or without one.
    pub(crate) async fn push(
        &self,
        repository: &str,
        tag: Option<&str>,
        platform: Value,
        layer: &[u8],
    ) -> Pushed {
        let mut config = platform.clone();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [digest(layer)] });
        let config = config.to_string().into_bytes();
        for blob in [&config[..], layer] {
            self.push_blob(repository, blob).await;
        }
        let part = |kind: &str, bytes: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part("config.v1+json", &config), "layers": [part("layer.v1.tar", layer)],
        });
        let manifest = manifest.to_string();
        let name = tag.map_or_else(|| digest(manifest.as_bytes()), str::to_owned);
        self.push_manifest(repository, &name, MANIFEST, &manifest).await;
        Pushed {
            config_digest: digest(&config),
            size: (config.len() + layer.len()) as u64,
            descriptor: json!({
                "mediaType": MANIFEST, "digest": digest(manifest.as_bytes()), "size": manifest.len(), "platform": platform,
            }),
        }
    }

    pub(crate) async fn push_index(&self, repository: &str, tag: &str, images: &[&Pushed]) {
        let manifests: Vec<_> = images.iter().map(|image| &image.descriptor).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.push_manifest(repository, tag, INDEX, &index.to_string())
            .await;
    }

    async fn push_blob(&self, repository: &str, blob: &[u8]) {
        let begun = self
            .send(self.client.post(self.url(repository, "blobs/uploads/")))
            .await;
        let place = begun.headers()["location"].to_str().unwrap();
        let place = if place.starts_with('/') {
            format!("http://{}{place}", self.host)
        } else {
            place.to_owned()
        };
        let joint = if place.contains('?') { '&' } else { '?' };
        let put = self.client.put(format!("{place}{joint}digest={}", digest(blob)));
        self.send(
            put.header("content-type", "application/octet-stream")
                .body(blob.to_vec()),
        )
        .await;
    }

    async fn push_manifest(&self, repository: &str, name: &str, kind: &str, manifest: &str) {
        let put = self
            .client
            .put(self.url(repository, &format!("manifests/{name}")));
        self.send(put.header("content-type", kind).body(manifest.to_owned()))
            .await;
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        format!("http://{}/v2/{repository}/{rest}", self.host)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = if self.authenticated {
            request.basic_auth(USER, Some(PASSWORD))
        } else {
            request
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
        answer
    }
}

/// Readable for whom the registry runs as.
fn write(dir: &Path, name: &str, text: &str) {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    let owner = std::fs::metadata(dir).unwrap();
    chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
