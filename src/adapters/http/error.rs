//! Why a call failed. No message contains the URL, which may include a key.

use hyper::StatusCode;
use std::error::Error;

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no connection in time")]
    ConnectTimeout {
        /// The address of the proxy that the connection was to go through.
        proxy: Option<String>,
    },
    #[error("no connection")]
    Connect {
        proxy: Option<String>,
        source: Box<dyn Error + Send + Sync>,
    },
    /// The proxy answered in the server's place.
    #[error("the proxy refuses to connect ({status})")]
    ProxyRefuses { proxy: String, status: StatusCode },
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke off")]
    Broken(#[from] hyper::Error),
    /// Before the request was sent.
    #[error("the connection was closed at once")]
    Closed,
}
