//! The settings of a server.

use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where people and nodes reach this server through a proxy; for messages only.
    pub public_url: Option<String>,
    /// The SQLite file.
    pub database: PathBuf,
    /// `None`: `token-pepper` beside the database.
    pub pepper_file: Option<PathBuf>,
    /// `None`: `admin-token` beside the database.
    pub admin_token_file: Option<PathBuf>,
    /// `baseosJoinToken`: a `szj_` token that is good for 24 h from the first start that saw it.
    pub baseos_join_token: Option<SecretString>,
    /// How many nodes `baseosJoinToken` enrols.
    pub baseos_join_token_uses: u32,
    /// Heartbeat interval of a node with nothing to do, seconds.
    pub heartbeat_seconds: u32,
    /// Heartbeat interval of a node at work on an update, seconds.
    pub active_heartbeat_seconds: u32,
    /// Shortest time between two heartbeats of a node, seconds; nodes are told.
    pub min_heartbeat_seconds: u32,
    /// Of requests of one node.
    pub node_rate: Rate,
    /// Of wrong tokens from one address.
    pub failure_rate: Rate,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    pub per_second: f64,
}

impl Settings {
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            public_url: None,
            database: database.into(),
            pepper_file: None,
            admin_token_file: None,
            baseos_join_token: None,
            baseos_join_token_uses: 1,
            heartbeat_seconds: 60,
            active_heartbeat_seconds: 15,
            min_heartbeat_seconds: baseos_interfaces::limits::MIN_HEARTBEAT_SECONDS,
            node_rate: Rate {
                burst: 60,
                per_second: 2.0,
            },
            failure_rate: Rate {
                burst: 60,
                per_second: 1.0,
            },
        }
    }

    pub fn pepper_path(&self) -> PathBuf {
        self.pepper_file
            .clone()
            .unwrap_or_else(|| self.beside("token-pepper"))
    }

    pub fn admin_token_path(&self) -> PathBuf {
        self.admin_token_file
            .clone()
            .unwrap_or_else(|| self.beside("admin-token"))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.database.parent().unwrap_or_else(|| Path::new("")).join(name)
    }
}
