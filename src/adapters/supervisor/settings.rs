//! Address, API key and timeouts of the Supervisor client.

use secrecy::SecretString;
use std::time::Duration;

/// From `BALENA_SUPERVISOR_ADDRESS` and `BALENA_SUPERVISOR_API_KEY`.
#[derive(Clone, Debug)]
pub struct SupervisorSettings {
    /// e.g. `http://127.0.0.1:48484`.
    pub address: String,
    /// Cannot change while this process runs.
    pub api_key: SecretString,
}

/// Invalid settings. The messages do not contain the address, which may include credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the Supervisor's address cannot be read ({0}): use one like http://127.0.0.1:48484")]
    Address(String),
    /// The address is not just `http://host:port`.
    #[error(
        "the Supervisor's address must be http://, a host and a port, and nothing else, like http://127.0.0.1:48484"
    )]
    Extra,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    /// Of a request that the Supervisor answers at once: a query, or a request it only accepts.
    pub(crate) call: Duration,
    /// Of a request that the Supervisor answers when the work is done, and of a target post.
    pub(crate) work: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(15),
            work: Duration::from_secs(60),
        }
    }
}
