//! Test doubles for the adapters' tests.

mod log;
mod server;

pub(crate) use log::Log;
pub(crate) use server::{Fake, Reply, Seen, http, json};
