//! Updates: what is to be applied, when it may begin, how it is handed over, and whether it runs.

pub(crate) mod consent;
pub(crate) mod decide;
pub(crate) mod gate;
pub(crate) mod handover;
pub(crate) mod image;
pub(crate) mod judgement;
pub(crate) mod last_look;
pub(crate) mod platform;
pub(crate) mod predecessors;
pub(crate) mod record;
pub(crate) mod release_memory;
pub(crate) mod restarts;
pub(crate) mod rollback;
pub(crate) mod superseded;
pub(crate) mod target;
pub(crate) mod verification;
