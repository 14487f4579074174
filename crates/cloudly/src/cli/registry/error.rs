//! Why a registry did not say which image it is. No message holds a credential or a token.

use std::error::Error;

#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("is not repository:tag or repository@sha256: with 64 hex digits")]
    NotAnImage,
    #[error("the registry {host} cannot be reached: {}", innermost(source))]
    Unreachable { host: String, source: reqwest::Error },
    #[error("the registry took too long")]
    TooSlow,
    #[error("the registry {0} has no such image")]
    NotFound(String),
    #[error(
        "the registry {0} refuses access: give credentials for this host with --registry-credentials, or check them"
    )]
    Refused(String),
    #[error("{host} answered HTTP {status}")]
    Status { host: String, status: u16 },
    #[error("{host} sends {what}")]
    Answer { host: String, what: &'static str },
}

/// The outer errors of the HTTP client only say that there was one.
fn innermost(error: &dyn Error) -> &dyn Error {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}
