//! After success: services of the release that runs which have stopped are reported and brought back.
//!
//! The Supervisor does not heal (observed): a container that was deleted comes back with a post of the same target, one
//! that has exited with `start-service`, and nothing but another release helps a crash loop. `record` is what is
//! remembered, `act` what is done.

pub(crate) mod act;
pub(crate) mod record;
