//! The event loop: it merges the event sources, owns the only sleep ([`alarm`]), writes the journal and the checkpoint, and
//! passes effects to their ports. It makes no decisions; those are the machine's.

pub mod alarm;
pub mod bus;
pub mod clock;
pub mod contact_log;
pub mod dispatch;
pub mod drive;
pub mod journal;
pub mod replay;
pub mod shutdown;
