//! The tokio side of the loop: it merges the sources, owns the one sleep, writes the journal and the checkpoint,
//! and hands effects to their ports. It decides nothing.

pub mod bus;
pub mod clock;
pub mod contact_log;
pub mod dispatch;
pub mod drive;
pub mod journal;
pub mod replay;
pub mod shutdown;
