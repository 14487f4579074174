//! A server in this process.

use super::Engine;
use super::api::Api;
use super::process::SPAWNING;
use baseos_interfaces::Timestamp;
use cloudly_baseos::{Clock, Database, Server, ServerError, Settings};
use std::ops::Deref;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) fn start_time() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(crate) struct Cloudly {
    api: Api,
    pub(crate) clock: Clock,
    pub(crate) dir: TempDir,
    /// Of its database.
    pub(crate) database_url: String,
    adjust: fn(&mut Settings),
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Deref for Cloudly {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Cloudly {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }

    pub(crate) async fn start_with(engine: Engine, adjust: fn(&mut Settings)) -> Self {
        let dir = TempDir::new().unwrap();
        let url = engine.new_database(dir.path()).await;
        Self::start_on(dir, url, adjust).await
    }

    /// Starts with this database and the secrets in `dir`, which are made if there are none.
    pub(crate) async fn start_on(dir: TempDir, database_url: String, adjust: fn(&mut Settings)) -> Self {
        let mut cloudly = Self {
            api: Api::new(),
            clock: Clock::manual(start_time()),
            dir,
            database_url,
            adjust,
            stop: None,
            serving: None,
        };
        cloudly.start_again().await;
        cloudly
    }

    /// The file of an SQLite database.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("cloudly.db")
    }

    /// Settings that listen on a free port.
    pub(crate) fn settings(database: impl Into<Database>) -> Settings {
        let mut settings = Settings::new(database);
        settings.listen = "127.0.0.1:0".to_owned();
        settings
    }

    pub(crate) async fn bind(settings: Settings, clock: Clock) -> Result<Server, ServerError> {
        let _guard = SPAWNING.read().await;
        Server::bind(settings, clock).await
    }

    /// Starts after [`Self::stop`].
    pub(crate) async fn start_again(&mut self) {
        let mut settings = Self::settings(Database::parse(&self.database_url).unwrap());
        settings.pepper_file = Some(self.dir.path().join("token-pepper"));
        settings.admin_token_file = Some(self.dir.path().join("admin-token"));
        (self.adjust)(&mut settings);
        let server = Self::bind(settings, self.clock.clone()).await.unwrap();
        self.api.url = server.url();
        self.api.admin_token = server.admin_token().expose().to_owned();
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.serving = Some(tokio::spawn(server.serve(async { drop(stopped.await) })));
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.serving.take().unwrap().await.unwrap().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.restart_after(0).await;
    }

    /// Restarts; so many seconds pass in between.
    pub(crate) async fn restart_after(&mut self, seconds: i64) {
        self.stop().await;
        self.clock.advance(seconds);
        self.start_again().await;
    }
}
