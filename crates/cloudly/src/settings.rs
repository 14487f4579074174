//! The settings of a server.

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// `postgres://user:password@host/name`. `Display` shows neither the password nor the parameters.
#[derive(Clone, Debug)]
pub struct PostgresUrl(SecretString);

impl Database {
    /// Of `sqlite:<file>` or `postgres://user:password@host/name`.
    ///
    /// # Errors
    /// What is wrong, without the text itself, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(PostgresUrl(url.into())));
        }
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return Err(
                "the database URL is not understood: use sqlite:<file>, e.g. sqlite:cloudly.db, or \
                 postgres://user:password@host/name",
            );
        };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.starts_with(':') {
            return Err("the database URL names no file: use sqlite:<file>, e.g. sqlite:cloudly.db");
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    /// Where a server keeps its files: beside the database, or with PostgreSQL in the directory it was started in.
    pub fn directory(&self) -> &Path {
        let Self::Sqlite(path) = self else {
            return Path::new("");
        };
        path.parent().unwrap_or_else(|| Path::new(""))
    }
}

/// Without a password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Database {
    fn from(path: P) -> Self {
        Self::Sqlite(path.into())
    }
}

impl PostgresUrl {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.expose();
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let place = rest.split(['?', '#']).next().unwrap_or_default();
        // A password may hold an unescaped `@`.
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (user.split(':').next(), place),
            None => (None, place),
        };
        match user {
            Some(user) => write!(f, "{scheme}://{user}@{place}"),
            None => write!(f, "{scheme}://{place}"),
        }
    }
}

/// The server's certificate and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM, with the certificates between the server's and the authority's.
    pub certificate: PathBuf,
    /// PEM, not encrypted.
    pub key: PathBuf,
}

/// [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where people and nodes reach this server through a proxy; for messages only.
    pub public_url: Option<String>,
    pub database: Database,
    /// `None`: `token-pepper` in [`Database::directory`].
    pub pepper_file: Option<PathBuf>,
    /// `None`: `admin-token` in [`Database::directory`].
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
    /// How many connections may be open; fewer where the process may have fewer descriptors.
    pub max_connections: usize,
    /// How many requests may wait to write, with SQLite. More are told to come again: some seconds of work.
    pub writes_waiting: u32,
    /// How long a new connection may take to bring its first request.
    pub first_request_within: Duration,
    /// Proxies whose `X-Forwarded-For` is believed: limits and the audit log name the client's address then.
    pub trusted_proxies: Vec<IpNet>,
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
    pub fn new(database: impl Into<Database>) -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            tls: None,
            public_url: None,
            database: database.into(),
            pepper_file: None,
            admin_token_file: None,
            baseos_join_token: None,
            baseos_join_token_uses: 1,
            heartbeat_seconds: 60,
            active_heartbeat_seconds: 15,
            min_heartbeat_seconds: baseos_interfaces::limits::MIN_HEARTBEAT_SECONDS,
            max_connections: 10_000,
            writes_waiting: 4096,
            first_request_within: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
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
        self.database.directory().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_names_a_file_or_a_server() {
        let path = |url| match Database::parse(url) {
            Ok(Database::Sqlite(path)) => path,
            other => panic!("{url}: {other:?}"),
        };
        assert_eq!(path("sqlite:cloudly.db"), Path::new("cloudly.db"));
        assert_eq!(path("sqlite:///data/cloudly.db"), Path::new("/data/cloudly.db"));
        for refused in ["sqlite::memory:", "sqlite:", "mysql://db", "cloudly.db"] {
            assert!(Database::parse(refused).is_err(), "{refused}");
        }
        for server in ["postgres://db/cloudly", "postgresql://db/cloudly"] {
            assert!(
                matches!(Database::parse(server), Ok(Database::Postgres(_))),
                "{server}"
            );
        }
    }

    #[test]
    fn a_shown_postgres_url_has_no_password() {
        for (url, shown) in [
            ("postgres://db/cloudly", "postgres://db/cloudly"),
            (
                "postgres://me:secret@db:5432/cloudly",
                "postgres://me@db:5432/cloudly",
            ),
            ("postgres://me:se@cret@db/cloudly", "postgres://me@db/cloudly"),
            (
                "postgresql://db/cloudly?password=secret#secret",
                "postgresql://db/cloudly",
            ),
        ] {
            let Ok(Database::Postgres(url)) = Database::parse(url) else {
                panic!("{url}");
            };
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }
}
