//! HTTP/1.1 calls: what the clients of Cloudly and of the Supervisor share.
//!
//! A [`Client`] belongs to one server and keeps a few idle connections for its next calls. No task runs for a
//! connection: whoever waits for an answer drives it. So a call wakes the process only as often as the network does, and
//! an idle connection costs nothing. A request that surely was not sent, because a kept connection was closed meanwhile,
//! goes out on another one; nothing else is ever repeated, and no redirect is followed.

mod answer;
mod client;
mod connect;
mod connection;
mod error;
mod idle;
mod limits;
#[cfg(test)]
mod tests;

pub(super) use answer::Answer;
pub(super) use client::Client;
pub(super) use connect::{Connector, Keepalive};
pub(super) use error::HttpError;
pub(super) use idle::Kept;
pub(super) use limits::Limits;

/// The body of a request.
pub(super) type Body = http_body_util::Full<hyper::body::Bytes>;
