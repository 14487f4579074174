//! Where Cloudly is.

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
