//! The interface between the callers of Cloudly and the store: where Cloudly is, and the node's tokens.

#[cfg(test)]
pub(crate) mod test;

use baseos_interfaces::token::{Token, TokenId};
use serde::{Deserialize, Serialize};

/// Where Cloudly is, and which certificate authorities to trust for it. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The base URL, without a trailing slash.
    pub url: String,
    /// The only certificate authorities to trust, as PEM; `None`: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Whether plain HTTP is allowed; for development only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
}

/// Stores the node's tokens. Every change is on disk, fsynced, when the call returns `Ok`.
pub trait Vault: Send + Sync + 'static {
    /// The token to call Cloudly with: the newest one that was not refused in this run.
    fn node_token(&self) -> Option<Token>;

    /// Stores the token of a new registration; it replaces all earlier ones.
    ///
    /// # Errors
    /// When it cannot be written; the registration must then be repeated.
    fn store_node_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Stores a token that Cloudly sent for rotation, beside the current one.
    ///
    /// # Errors
    /// When it cannot be written; it must not be used then.
    fn store_next_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Cloudly accepted a call with this token: older ones are invalid now and are deleted.
    ///
    /// # Errors
    /// When it cannot be written; harmless, the next accepted call tries again.
    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError>;

    /// Cloudly refused this token: the other one, if any, is used for the rest of this run.
    fn token_refused(&self, id: &TokenId);

    /// A join token that was offered and not deleted since.
    fn join_token(&self, id: &TokenId) -> Option<Token>;

    /// Stores a join token from the local API until the node is enrolled.
    ///
    /// # Errors
    /// When it cannot be written.
    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Deletes a join token that must not be used again, because the node is enrolled.
    ///
    /// # Errors
    /// When it cannot be written; harmless, the checkpoint says that the token is spent.
    fn forget_join_token(&self, id: &TokenId) -> Result<(), VaultError>;
}

#[derive(Debug, thiserror::Error)]
#[error("cannot store credentials: {0}")]
pub struct VaultError(pub String);
