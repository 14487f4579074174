//! The real agent with neighbours that misbehave: Cloudly, the Supervisor, clients of the local API, users of the command
//! line. It must stay small and alive, keep its identity, leak no secret, and work again when the neighbour does.
//!
//! Cloudly has to be built before: `cargo build --workspace --bins`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in helpers too"
)]

mod cli;
mod clocks;
mod cloudly_answers;
mod cloudly_orders;
mod descriptors;
mod local_api;
mod locks;
mod memory;
mod proxies;
mod replay;
mod secrets;
mod supervisor;
mod support;
mod tls;
