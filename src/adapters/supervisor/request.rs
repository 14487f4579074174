//! A request before it gets its URL.

use reqwest::Method;
use serde_json::Value;

/// Which key a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The real one.
    Right,
    /// One that cannot be right: who accepts it asks for none.
    Wrong,
}

/// A request, without its deadline.
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
            key: Key::Right,
            body: None,
        }
    }

    pub(super) fn post(path: &'a str, body: Value) -> Self {
        Self {
            method: Method::POST,
            path,
            key: Key::Right,
            body: Some(body),
        }
    }

    /// How messages name it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn with(self, key: Key) -> Self {
        Self { key, ..self }
    }
}
