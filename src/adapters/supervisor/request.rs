//! A request without the Supervisor's address and key.

use hyper::Method;
use serde_json::Value;

/// The API key that a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Valid,
    /// A Supervisor that accepts an invalid key requires none.
    Invalid,
}

pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) key: Key,
    pub(super) body: Option<Value>,
}

impl<'a> Request<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            key: Key::Valid,
            body: None,
        }
    }

    pub(super) fn post(path: &'a str, body: Value) -> Self {
        Self {
            method: Method::POST,
            path,
            key: Key::Valid,
            body: Some(body),
        }
    }

    /// The request's name in messages: method and path, without the key.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn with_key(self, key: Key) -> Self {
        Self { key, ..self }
    }
}
