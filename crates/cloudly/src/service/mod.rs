//! What may happen: one file a noun. A service checks what it is given, changes the database and the audit log in one
//! transaction, and answers with a record or with what was wrong. It knows nothing of HTTP.

mod admission;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod commands;
mod desired_state;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod health;
mod heartbeat_interval;
pub(crate) mod heartbeats;
mod images;
pub(crate) mod join_tokens;
pub(crate) mod metrics;
pub(crate) mod node_tokens;
pub(crate) mod nodes;
pub(crate) mod operators;
pub(crate) mod page;
mod policy_rules;
pub(crate) mod presence;
pub(crate) mod refusals;
pub(crate) mod registrations;
mod release_differences;
pub(crate) mod releases;
pub(crate) mod retention;
pub(crate) mod targets;
mod validate;
