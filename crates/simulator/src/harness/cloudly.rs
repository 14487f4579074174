//! The real `cloudly serve`, and its admin API.

use super::http::{Address, Response, call};
use super::wait::wait_until;
use super::{Error, Result};
use baseos_interfaces::admin::{
    AuditRecord, CommandRecord, CreateCommand, CreateJoinToken, CreateRelease, CreatedJoinToken, DesiredSet,
    EventRecord, NodeRecord, Page, ReleaseRecord, SetDesired,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How Cloudly is started.
#[derive(Clone, Debug)]
pub struct CloudlyConfig {
    /// The `cloudly` program.
    pub program: PathBuf,
    /// Where its database, token files and log are.
    pub dir: PathBuf,
    /// More variables, e.g. `CLOUDLY_HEARTBEAT_SECONDS`.
    pub environment: BTreeMap<String, String>,
    /// Where it listens; a free port of the loopback interface unless given.
    pub listen: String,
}

impl CloudlyConfig {
    /// Heartbeats each second, so that nothing waits for them.
    pub fn new(program: &Path, dir: &Path) -> Self {
        let quick = [
            "CLOUDLY_HEARTBEAT_SECONDS",
            "CLOUDLY_ACTIVE_HEARTBEAT_SECONDS",
            "CLOUDLY_MIN_HEARTBEAT_SECONDS",
        ];
        Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            environment: quick.map(|name| (name.to_owned(), "1".to_owned())).into(),
            listen: "127.0.0.1:0".to_owned(),
        }
    }
}

/// A running Cloudly; it ends with this.
pub struct Cloudly {
    config: CloudlyConfig,
    child: Child,
    address: Address,
    url: String,
}

impl Cloudly {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub async fn start(config: CloudlyConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.dir)?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_file(&config))?;
        let mut child = Command::new(&config.program)
            .arg("serve")
            .env_clear()
            .env("CLOUDLY_LISTEN", &config.listen)
            .env(
                "CLOUDLY_DATABASE_URL",
                format!("sqlite:{}", config.dir.join("cloudly.db").display()),
            )
            .envs(&config.environment)
            .current_dir(&config.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::new(format!("{}: {error}", config.program.display())))?;
        let out = child
            .stdout
            .take()
            .ok_or_else(|| Error::new("no standard output"))?;
        let mut lines = BufReader::new(out).lines();
        let first = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
        let first = first
            .ok()
            .and_then(|line| line.ok().flatten())
            .unwrap_or_default();
        let Some(url) = first.strip_prefix("cloudly listening on ").map(str::to_owned) else {
            let tail = tail(&log_file(&config), 20);
            return Err(Error::new(format!(
                "cloudly did not say where it listens but `{first}`; its log:\n{tail}"
            )));
        };
        // Whatever it writes later must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = Address::parse(&url)?;
        Ok(Self {
            config,
            child,
            address,
            url,
        })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file with the admin token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.config.dir.join("admin-token")
    }

    /// Ends it hard and starts it again on the same port with the same database.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await;
        self.start_again().await
    }

    /// SIGKILL, and wait.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Starts it again after [`Cloudly::kill`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let listen = self.url.trim_start_matches("http://").to_owned();
        *self = Self::start(CloudlyConfig {
            listen,
            ..self.config.clone()
        })
        .await?;
        Ok(())
    }

    /// A call of the admin API; `path` is what follows `/baseos/v1/admin`.
    ///
    /// # Errors
    /// When there is no answer or no admin token.
    pub async fn admin(&self, method: &str, path: &str, body: Option<String>) -> Result<Response> {
        let token = std::fs::read_to_string(self.admin_token_file())
            .map_err(|error| Error::new(format!("{}: {error}", self.admin_token_file().display())))?;
        call(
            &self.address,
            method,
            &format!("/baseos/v1/admin{path}"),
            Some(token.trim()),
            body,
        )
        .await
    }

    async fn send<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> Result<T> {
        let answer = self
            .admin(method, path, Some(serde_json::to_string(body)?))
            .await?;
        answer
            .json()
            .map_err(|error| Error::new(format!("{method} {path}: {error}")))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.admin("GET", path, None)
            .await?
            .json()
            .map_err(|error| Error::new(format!("GET {path}: {error}")))
    }

    /// Mints a join token.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_join_token(&self, wish: &CreateJoinToken) -> Result<CreatedJoinToken> {
        self.send("POST", "/join-tokens", wish).await
    }

    /// Publishes a release.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_release(&self, release: &CreateRelease) -> Result<ReleaseRecord> {
        self.send("POST", "/releases", release).await
    }

    /// Says what is desired of all nodes, or of one.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn set_desired(&self, node: Option<&str>, wish: &SetDesired) -> Result<DesiredSet> {
        match node {
            None => self.send("PUT", "/desired", wish).await,
            Some(node) => self.send("PUT", &format!("/nodes/{node}/desired"), wish).await,
        }
    }

    /// All nodes of the first page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        Ok(self.get::<Page<NodeRecord>>("/nodes").await?.items)
    }

    /// One node.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn node(&self, id: &str) -> Result<NodeRecord> {
        self.get(&format!("/nodes/{id}")).await
    }

    /// Gives a node a command.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_command(&self, node: &str, command: &CreateCommand) -> Result<CommandRecord> {
        self.send("POST", &format!("/nodes/{node}/commands"), command)
            .await
    }

    /// The commands of a node, first page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn commands(&self, node: &str) -> Result<Vec<CommandRecord>> {
        Ok(self
            .get::<Page<CommandRecord>>(&format!("/nodes/{node}/commands"))
            .await?
            .items)
    }

    /// The events a node sent, newest first, first page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn events(&self, node: &str) -> Result<Vec<EventRecord>> {
        let path = format!("/nodes/{node}/events");
        Ok(self.get::<Page<EventRecord>>(&path).await?.items)
    }

    /// An operator's decision about a node: `approve`, `suspend`, `restore`, `remove`, `clear-clone`.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn decide(&self, node: &str, verb: &str) -> Result<()> {
        let answer = self.admin("POST", &format!("/nodes/{node}/{verb}"), None).await?;
        if answer.is_success() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{verb} {node}: {}: {}",
            answer.status, answer.body
        )))
    }

    /// The audit log, first page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn audit(&self) -> Result<Vec<AuditRecord>> {
        Ok(self.get::<Page<AuditRecord>>("/audit").await?.items)
    }

    /// Waits until there is exactly one node, and returns it.
    ///
    /// # Errors
    /// When there is none, or more, for so long.
    pub async fn wait_for_node(&self, timeout: Duration) -> Result<NodeRecord> {
        wait_until("one node is enrolled", timeout, async || {
            let mut nodes = self.nodes().await.map_err(|error| error.to_string())?;
            match (nodes.pop(), nodes.len()) {
                (Some(node), 0) => Ok(node),
                (_, others) => Err(format!("{others} others")),
            }
        })
        .await
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&log_file(&self.config), lines)
    }
}

fn log_file(config: &CloudlyConfig) -> PathBuf {
    config.dir.join("cloudly.log")
}

fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

impl std::fmt::Debug for Cloudly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloudly")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
