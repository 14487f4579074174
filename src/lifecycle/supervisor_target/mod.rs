//! The target of an unmanaged Supervisor: what is known of the one it has, and the only maker of a new one.

pub(crate) mod agent_user;
pub(crate) mod builder;
pub(crate) mod ids;
mod images;

pub use builder::LocalTarget;
