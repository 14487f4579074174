//! The conversation with Cloudly: who this node is, heartbeats, commands, and the events it has not heard yet.

pub(crate) mod commands;
pub(crate) mod enrolment;
pub(crate) mod heartbeat;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod outbox;
pub(crate) mod wall_clock;
