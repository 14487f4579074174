//! How to reach the Supervisor and how long to wait for it.

use secrecy::SecretString;
use std::time::Duration;

/// How to reach the Supervisor, from `BALENA_SUPERVISOR_ADDRESS` and `BALENA_SUPERVISOR_API_KEY`.
#[derive(Clone, Debug)]
pub struct SupervisorSettings {
    /// e.g. `http://127.0.0.1:48484`.
    pub address: String,
    /// The key; it cannot change while this process runs.
    pub api_key: SecretString,
}

/// Why the settings cannot be used. Never repeats the address: it may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("the Supervisor's address cannot be read ({0}): use one like http://127.0.0.1:48484")]
    Address(String),
    /// Something else than `http://host:port`.
    #[error(
        "the Supervisor's address must be http://, a host and a port, and nothing else, like http://127.0.0.1:48484"
    )]
    Extra,
    /// The client library refuses its settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Until the connection stands.
    pub(crate) connect: Duration,
    /// A call that only asks or is only accepted.
    pub(crate) call: Duration,
    /// A call the Supervisor answers when the work is done, or that hands over a target.
    pub(crate) work: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(15),
            work: Duration::from_secs(60),
        }
    }
}
