//! The real `cloudly serve`, and its admin API.

use crate::harness::error::{Error, Result};
use crate::harness::http::{Address, Response, call};
use crate::text::last_lines;
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

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct CloudlyConfig {
    pub program: PathBuf,
    /// For its database, token files and log.
    pub dir: PathBuf,
    pub environment: BTreeMap<String, String>,
    /// `HOST:PORT`
    pub listen: String,
}

impl CloudlyConfig {
    /// With a heartbeat each second, on a free port of the loopback interface.
    pub fn new(program: &Path, dir: &Path) -> Self {
        let intervals = [
            "CLOUDLY_HEARTBEAT_SECONDS",
            "CLOUDLY_ACTIVE_HEARTBEAT_SECONDS",
            "CLOUDLY_MIN_HEARTBEAT_SECONDS",
        ];
        Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            environment: intervals.map(|name| (name.to_owned(), "1".to_owned())).into(),
            listen: "127.0.0.1:0".to_owned(),
        }
    }
}

/// A running Cloudly; it ends when this is dropped.
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
        let first = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let first = first
            .ok()
            .and_then(|line| line.ok().flatten())
            .unwrap_or_default();
        let Some(url) = first.strip_prefix("cloudly listening on ").map(str::to_owned) else {
            let log = log_tail(&config, 20);
            return Err(Error::new(format!(
                "cloudly printed `{first}` instead of where it listens; its log:\n{log}"
            )));
        };
        // A full pipe would block it.
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

    pub fn admin_token_file(&self) -> PathBuf {
        self.config.dir.join("admin-token")
    }

    /// SIGKILL; waits for the end of the process.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Starts it after [`Cloudly::kill`], on the same port with the same database.
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

    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_join_token(&self, request: &CreateJoinToken) -> Result<CreatedJoinToken> {
        self.send("POST", "/join-tokens", request).await
    }

    /// # Errors
    /// When Cloudly refuses.
    pub async fn revoke_join_token(&self, id: &str) -> Result<()> {
        let path = format!("/join-tokens/{id}");
        let answer = self.admin("DELETE", &path, None).await?;
        answer
            .success()
            .map_err(|error| Error::new(format!("DELETE {path}: {error}")))
    }

    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_release(&self, release: &CreateRelease) -> Result<ReleaseRecord> {
        self.send("POST", "/releases", release).await
    }

    /// Of all nodes, or of one.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn set_desired(&self, node: Option<&str>, request: &SetDesired) -> Result<DesiredSet> {
        match node {
            None => self.send("PUT", "/desired", request).await,
            Some(node) => self.send("PUT", &format!("/nodes/{node}/desired"), request).await,
        }
    }

    /// First page.
    /// # Errors
    /// When Cloudly refuses.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        Ok(self.get::<Page<NodeRecord>>("/nodes").await?.items)
    }

    /// # Errors
    /// When Cloudly refuses.
    pub async fn node(&self, id: &str) -> Result<NodeRecord> {
        self.get(&format!("/nodes/{id}")).await
    }

    /// # Errors
    /// When Cloudly refuses.
    pub async fn create_command(&self, node: &str, command: &CreateCommand) -> Result<CommandRecord> {
        self.send("POST", &format!("/nodes/{node}/commands"), command)
            .await
    }

    /// First page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn commands(&self, node: &str) -> Result<Vec<CommandRecord>> {
        Ok(self
            .get::<Page<CommandRecord>>(&format!("/nodes/{node}/commands"))
            .await?
            .items)
    }

    /// The events of a node, newest first, first page.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn events(&self, node: &str) -> Result<Vec<EventRecord>> {
        let path = format!("/nodes/{node}/events");
        Ok(self.get::<Page<EventRecord>>(&path).await?.items)
    }

    /// An operator's action on a node: `approve`, `suspend`, `restore`, `remove`, `clear-clone`.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn act_on_node(&self, node: &str, action: &str) -> Result<()> {
        let path = format!("/nodes/{node}/{action}");
        let answer = self.admin("POST", &path, None).await?;
        answer
            .success()
            .map_err(|error| Error::new(format!("POST {path}: {error}")))
    }

    /// First page of the audit log.
    ///
    /// # Errors
    /// When Cloudly refuses.
    pub async fn audit(&self) -> Result<Vec<AuditRecord>> {
        Ok(self.get::<Page<AuditRecord>>("/audit").await?.items)
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.config, lines)
    }
}

fn log_file(config: &CloudlyConfig) -> PathBuf {
    config.dir.join("cloudly.log")
}

fn log_tail(config: &CloudlyConfig, lines: usize) -> String {
    let text = std::fs::read_to_string(log_file(config)).unwrap_or_default();
    last_lines(&text, lines)
}

impl std::fmt::Debug for Cloudly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloudly")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
