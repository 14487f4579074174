//! The interface between the callers of Cloudly and the store: where Cloudly is, and the node's tokens.

#[cfg(test)]
pub(crate) mod test;

use baseos_interfaces::token::{Token, TokenId};
use serde::{Deserialize, Serialize};
use url::Url;

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

impl Endpoint {
    /// The URL as it may be shown: without what may be a secret, should somebody have put one there.
    pub fn shown(&self) -> String {
        let Some(mut url) = Url::parse(&self.url).ok().filter(Url::has_host) else {
            return "a URL that cannot be read".to_owned();
        };
        // These fail for URLs that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.as_str().trim_end_matches('/').to_owned()
    }
}

/// Stores the node's tokens. Every change is on disk, fsynced, when the call returns `Ok`.
pub trait Vault: Send + Sync + 'static {
    /// The token to call Cloudly with: the newest one that was not refused in this run.
    fn node_token(&self) -> Option<Token>;

    /// Which node the token that Cloudly accepted last is good for; `None`: not known.
    fn node_id(&self) -> Option<String>;

    /// Stores the token of a new registration. The identity before it is kept until a token of one of the two is
    /// accepted: Cloudly may never accept the new one.
    ///
    /// # Errors
    /// When it cannot be written; the registration must then be repeated.
    fn store_node_token(&self, token: &Token, node_id: &str) -> Result<(), VaultError>;

    /// Stores a token that Cloudly sent for rotation, beside the current one.
    ///
    /// # Errors
    /// When it cannot be written; it must not be used then.
    fn store_next_token(&self, token: &Token) -> Result<(), VaultError>;

    /// Cloudly accepted a call with this token: it is used from now on. Some that it took the place of are kept, since a
    /// Cloudly that is restored from a backup knows one of them.
    ///
    /// # Errors
    /// When it cannot be written; harmless, the next accepted call tries again.
    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError>;

    /// Cloudly refused this token: another one, if any, is used for the rest of this run.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_a_secret() {
        for (url, shown) in [
            ("https://cloudly.example/", "https://cloudly.example"),
            (
                "https://cloudly.example:8443/base",
                "https://cloudly.example:8443/base",
            ),
            (
                "https://user:pass@cloudly.example?token=x#y",
                "https://cloudly.example",
            ),
            ("user:pass@", "a URL that cannot be read"),
        ] {
            let endpoint = Endpoint {
                url: url.to_owned(),
                ca_pem: None,
                allow_http: false,
            };
            assert_eq!(endpoint.shown(), shown, "{url}");
        }
    }
}
