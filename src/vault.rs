//! The seam between those who call Cloudly and the store that keeps what they need for it: where Cloudly is, and the
//! node's tokens.

use baseos_interfaces::token::{Token, TokenId};
use serde::{Deserialize, Serialize};

/// Where Cloudly is, and whom to believe that it is Cloudly. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The base URL, without a slash at its end.
    pub url: String,
    /// The only certificate authorities to believe, as PEM; none: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Whether plain HTTP is allowed; for development only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
}

/// Keeps the node's tokens. What it returns is on disk, fsynced, before the call returns.
pub trait Vault: Send + Sync + 'static {
    /// The token to call Cloudly with: the newest one that was not refused in this run.
    fn node_token(&self) -> Option<Token>;

    /// Stores the token of a new registration; it takes the place of all earlier ones.
    ///
    /// # Errors
    /// When it cannot be written; the registration must then be repeated.
    fn store_node_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Stores a token Cloudly sent for rotation, beside the present one.
    ///
    /// # Errors
    /// When it cannot be written; it must not be used then.
    fn store_next_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Cloudly accepted a call with this token: older ones are dead and are forgotten.
    ///
    /// # Errors
    /// When it cannot be written; harmless, it will be tried again with the next accepted call.
    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError>;

    /// Cloudly refused this token: another one, if there is one, is used for the rest of this run.
    fn token_refused(&self, id: &TokenId);

    /// A join token that was offered and not forgotten.
    fn join_token(&self, id: &TokenId) -> Option<Token>;

    /// Keeps a join token that came over the local API until the node is enrolled with it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError>;

    /// The node is enrolled: the join token is never used again.
    ///
    /// # Errors
    /// When it cannot be written; harmless, the machine remembers that it is spent.
    fn forget_join_token(&self, id: &TokenId) -> Result<(), VaultError>;
}

/// A secret could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot store credentials: {0}")]
pub struct VaultError(pub String);
