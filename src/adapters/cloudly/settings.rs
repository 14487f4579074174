//! What can be wrong with the settings for Cloudly, and how long calls may take.

use std::time::Duration;

/// Why the settings cannot be used. Never repeats the URL: it may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the Cloudly URL cannot be read ({0}): use one like https://cloudly.example")]
    Url(String),
    #[error(
        "the Cloudly URL starts with `{0}:`: use https:// (http:// only where plain HTTP is allowed, BASEOS_ALLOW_HTTP=1)"
    )]
    Scheme(String),
    #[error(
        "the Cloudly URL holds a user name or a password: leave them out, the node's token is all it needs"
    )]
    Credentials,
    #[error("the Cloudly URL has a query or a fragment: leave out everything from `?` or `#` on")]
    Extra,
    #[error(
        "the CA for Cloudly cannot be used ({0}): give one or more certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE"
    )]
    Ca(String),
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Until the connection stands, TLS included.
    pub(crate) connect: Duration,
    /// Between two pieces of an answer.
    pub(crate) progress: Duration,
    /// The whole call.
    pub(crate) call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            progress: Duration::from_secs(15),
            call: Duration::from_secs(30),
        }
    }
}
