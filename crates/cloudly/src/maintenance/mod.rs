//! What an operator does with a whole database, beside the server that uses it: back it up, restore it, check it.

mod backup;
mod check;
mod error;
mod file;
mod restore;

pub use backup::{Backup, TakenBackup, take};
pub use check::check;
pub use error::MaintenanceError;
pub use restore::{Restore, Restored, RestoredTable, restore};
