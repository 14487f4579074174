//! The guard's two files in the state directory.

use crate::durable_file;
use crate::lifecycle::guard::files::{ORDERS, Orders, REPORT, Report};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Which version of a file was read: it is replaced by another one with each write.
type Version = (u64, i64, i64, i64, i64, u64);

pub(super) struct StateDir {
    dir: PathBuf,
    read: Option<Version>,
}

impl StateDir {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, read: None }
    }

    /// The agent's orders, if they are others than at the last call. Orders that do not read are none: what was ordered
    /// before still counts.
    pub(super) fn changed_orders(&mut self) -> Option<Orders> {
        let path = self.dir.join(ORDERS);
        let version = version(&std::fs::metadata(&path).ok()?);
        if self.read == Some(version) {
            return None;
        }
        let orders = durable_file::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        match orders {
            Ok(orders) => {
                self.read = Some(version);
                Some(orders)
            }
            Err(error) => {
                if self.read.replace(version) != Some(version) {
                    tracing::warn!(path = %path.display(), %error, "the agent's orders do not read and are not followed");
                }
                None
            }
        }
    }

    /// What an earlier guard has written.
    pub(super) fn report(&self) -> Option<Report> {
        let path = self.dir.join(REPORT);
        match durable_file::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(report) => Some(report),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the guard's report does not read; it begins a new one");
                None
            }
        }
    }

    pub(super) fn write_report(&self, report: &Report) -> io::Result<()> {
        durable_file::replace(&self.dir, REPORT, &serde_json::to_vec(report)?)
    }
}

fn version(found: &Metadata) -> Version {
    (
        found.ino(),
        found.mtime(),
        found.mtime_nsec(),
        // A change of owner or mode may make it readable.
        found.ctime(),
        found.ctime_nsec(),
        found.len(),
    )
}
