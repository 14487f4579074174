//! The file that tells the guard of the agent's own update what to do. It follows from the checkpoint and is written
//! with it, so it is on disk before a target leaves that it is about.

use crate::durable_file;
use crate::lifecycle::guard::files::{ORDERS, Orders};
use std::io;
use std::path::PathBuf;

/// The agent's orders to its guard.
#[derive(Debug)]
pub struct GuardOrders {
    dir: PathBuf,
    /// What is known to be on disk.
    written: Option<Orders>,
}

impl GuardOrders {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            written: None,
        }
    }

    /// Writes the orders if they differ from what this process has written.
    ///
    /// # Errors
    /// When they cannot be written; the previous ones are still there.
    pub fn save(&mut self, orders: Orders) -> io::Result<()> {
        if self.written.as_ref() == Some(&orders) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&orders)?;
        durable_file::replace(&self.dir, ORDERS, &bytes).map_err(|error| {
            let path = self.dir.join(ORDERS);
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })?;
        self.written = Some(orders);
        Ok(())
    }
}
