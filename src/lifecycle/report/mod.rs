//! What the machine says of itself: to Cloudly, to the clients of the local API and to people.

mod check;
pub(crate) mod doctor;
pub(crate) mod guard;
mod guard_check;
pub(crate) mod health;
pub(crate) mod heartbeat;
pub(crate) mod issues;
pub(crate) mod local;
pub(crate) mod notices;
pub(crate) mod size_limit;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod unused_images;
