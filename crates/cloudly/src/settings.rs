//! What the server is told when it starts.

use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// Everything a server needs to know; [`Settings::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where people and nodes reach this server, if a proxy stands before it; for messages only.
    pub public_url: Option<String>,
    /// The SQLite file.
    pub database: PathBuf,
    /// The pepper's file; beside the database unless given.
    pub pepper_file: Option<PathBuf>,
    /// The admin token's file; beside the database unless given.
    pub admin_token_file: Option<PathBuf>,
    /// `baseosJoinToken`: a `szj_` token that is good for 24 h from the first start that saw it.
    pub baseos_join_token: Option<SecretString>,
    /// How many nodes `baseosJoinToken` enrols.
    pub baseos_join_token_uses: u32,
    /// Heartbeat interval of a node with nothing to do, seconds.
    pub heartbeat_seconds: u32,
    /// Heartbeat interval of a node at work on an update, seconds.
    pub active_heartbeat_seconds: u32,
    /// Shortest time between two heartbeats of a node, seconds; told to the nodes.
    pub min_heartbeat_seconds: u32,
    /// How many requests a node may make at once, and per second after that.
    pub node_rate: Rate,
    /// How many wrong tokens an address may try at once, and per second after that.
    pub failure_rate: Rate,
}

/// A token bucket's size.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many a second after that.
    pub per_second: f64,
}

impl Settings {
    /// The defaults, with the database in this file.
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

    /// Where the pepper is.
    pub fn pepper_path(&self) -> PathBuf {
        self.pepper_file
            .clone()
            .unwrap_or_else(|| self.beside("token-pepper"))
    }

    /// Where the admin token is.
    pub fn admin_token_path(&self) -> PathBuf {
        self.admin_token_file
            .clone()
            .unwrap_or_else(|| self.beside("admin-token"))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.database.parent().unwrap_or_else(|| Path::new("")).join(name)
    }
}
