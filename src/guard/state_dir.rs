//! The guard's two files in the state directory.

use crate::durable_file;
use crate::lifecycle::guard::files::{ORDERS, Orders, REPORT, Report};
use rustix::fs::{Access, access};
use rustix::process::geteuid;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Which version of a file was read: it is replaced by another one with each write.
type Version = (u64, i64, i64, i64, i64, u64);

const NO_DIRECTORY: &str = "is not a directory";

pub(super) struct StateDir {
    dir: PathBuf,
    /// The orders that were read last.
    read: Option<Version>,
    /// The orders that did not read, which was logged.
    unread: Option<Version>,
}

impl StateDir {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            read: None,
            unread: None,
        }
    }

    /// Whether it can be the agent's: without its orders the guard can do nothing.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(super) fn check(&self) -> io::Result<()> {
        let problem = match std::fs::metadata(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => "does not exist".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotADirectory => NO_DIRECTORY.to_owned(),
            Err(error) => format!("cannot be looked at ({error})"),
            Ok(found) if !found.is_dir() => NO_DIRECTORY.to_owned(),
            Ok(_) => match access(&self.dir, Access::READ_OK | Access::EXEC_OK) {
                Err(error) => format!("cannot be read by user {} ({error})", geteuid().as_raw()),
                Ok(()) => return Ok(()),
            },
        };
        Err(io::Error::other(format!(
            "the state directory {} {problem}: BASEOS_STATE_DIR (or --state-dir) has to name the agent's own, on the volume \
             that the services of the agent and the guard share",
            self.dir.display()
        )))
    }

    /// The agent's orders, if they are others than at the last call. Orders that do not read are none: what was ordered
    /// before still counts. Damaged ones are not read again, but those that a failing disk did not give are.
    pub(super) fn changed_orders(&mut self) -> Option<Orders> {
        let path = self.dir.join(ORDERS);
        let version = version(&std::fs::metadata(&path).ok()?);
        if self.read == Some(version) {
            return None;
        }
        match durable_file::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(orders) => {
                self.read = Some(version);
                Some(orders)
            }
            Err(error) => {
                if self.unread.replace(version) != Some(version) {
                    tracing::warn!(path = %path.display(), %error, "the agent's orders do not read and are not followed");
                }
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) {
                    self.read = Some(version);
                }
                None
            }
        }
    }

    /// The orders that the last call gave could not be followed yet: the next one gives them again.
    pub(super) fn give_orders_again(&mut self) {
        self.read = None;
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
        let written = durable_file::replace(&self.dir, REPORT, &serde_json::to_vec(report)?);
        written.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => io::Error::new(
                error.kind(),
                format!(
                    "the state directory {} cannot be written by user {} ({error}): the guard's service has to have the \
                     agent's `user` and mount its volume writable",
                    self.dir.display(),
                    geteuid().as_raw()
                ),
            ),
            _ => error,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &StateDir, noted: u64) {
        let orders = Orders {
            noted,
            ..Orders::default()
        };
        durable_file::replace(&dir.dir, ORDERS, &serde_json::to_vec(&orders).unwrap()).unwrap();
    }

    #[test]
    fn orders_come_once_unless_they_are_asked_for_again_or_written_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let mut dir = StateDir::new(temporary.path().to_owned());
        assert_eq!(dir.changed_orders(), None);
        write(&dir, 1);
        assert_eq!(dir.changed_orders().unwrap().noted, 1);
        assert_eq!(dir.changed_orders(), None);
        dir.give_orders_again();
        assert_eq!(dir.changed_orders().unwrap().noted, 1);
        write(&dir, 2);
        assert_eq!(dir.changed_orders().unwrap().noted, 2);
    }

    #[test]
    fn damaged_orders_are_none_until_they_are_written_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let mut dir = StateDir::new(temporary.path().to_owned());
        std::fs::write(temporary.path().join(ORDERS), "{").unwrap();
        assert_eq!(dir.changed_orders(), None);
        write(&dir, 3);
        assert_eq!(dir.changed_orders().unwrap().noted, 3);
    }
}
