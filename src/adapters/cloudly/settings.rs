//! Errors of the settings for Cloudly, and timeouts.

use std::time::Duration;

/// Invalid settings. The messages do not contain the URL, which may include credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the Cloudly URL cannot be read ({0}): use one like https://cloudly.example")]
    Url(String),
    #[error(
        "the Cloudly URL starts with `{0}:`: use https:// (http:// only where plain HTTP is allowed, BASEOS_ALLOW_HTTP=1)"
    )]
    Scheme(String),
    #[error(
        "the Cloudly URL contains a user name or a password: leave them out, the node's token is all it needs"
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

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// Including the TLS handshake.
    pub(crate) connect: Duration,
    /// Between two pieces of an answer.
    pub(crate) progress: Duration,
    /// The whole call, from connecting to the end of the answer.
    pub(crate) call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            progress: Duration::from_secs(15),
            call: Duration::from_secs(30),
        }
    }
}
