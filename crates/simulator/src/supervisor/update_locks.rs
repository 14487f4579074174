//! Update locks: files named `updates.lock` or `resin-updates.lock` in a directory per service. That a file exists is
//! what counts; its content and whether its owner is alive do not (observed).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The names of a lock file.
pub const LOCK_NAMES: [&str; 2] = ["updates.lock", "resin-updates.lock"];

/// The mode of a lock directory after the Supervisor took its locks there. The engine makes the directory for root alone
/// when a container starts without one, as after a reboot (observed: S10r).
const OPENED: u32 = 0o1777;

/// The owner of the Supervisor's own locks (observed).
const SUPERVISOR_UID: u32 = 65534;

/// The lock directories of all services.
pub trait UpdateLocks: Send {
    /// Whether somebody other than the Supervisor holds a lock there.
    fn held(&self, app: u64, service: &str) -> bool;
    /// The Supervisor takes both locks of a service; a container sees them and cannot take its own.
    fn take(&mut self, app: u64, service: &str);
    /// The Supervisor releases its locks.
    fn release(&mut self, app: u64);
    /// Removes all locks, whoever holds them (force).
    fn remove(&mut self, app: u64, service: &str);
    /// A reboot empties the tmpfs.
    fn clear(&mut self);
}

/// Locks as files under `<root>/<app id>/<service>/`.
///
/// The real Supervisor recognises its own locks by their owner (uid 65534), and an agent may do the same. Only root can
/// change the owner of a file, so this one tries it, and remembers which files it made.
#[derive(Debug)]
pub struct LockFiles {
    root: PathBuf,
    own: BTreeSet<PathBuf>,
}

impl LockFiles {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            own: BTreeSet::new(),
        }
    }

    fn files(&self, app: u64, service: &str) -> [PathBuf; 2] {
        LOCK_NAMES.map(|name| self.root.join(app.to_string()).join(service).join(name))
    }
}

impl UpdateLocks for LockFiles {
    fn held(&self, app: u64, service: &str) -> bool {
        self.files(app, service)
            .iter()
            .any(|file| !self.own.contains(file) && fs::symlink_metadata(file).is_ok())
    }

    fn take(&mut self, app: u64, service: &str) {
        for file in self.files(app, service) {
            if let Some(dir) = file.parent() {
                let _ = fs::create_dir_all(dir);
                let _ = fs::set_permissions(dir, fs::Permissions::from_mode(OPENED));
            }
            let made = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&file);
            if made
                .and_then(|mut made| std::io::Write::write_all(&mut made, b"0"))
                .is_ok()
            {
                let _ = std::os::unix::fs::chown(&file, Some(SUPERVISOR_UID), None);
                self.own.insert(file);
            }
        }
    }

    fn release(&mut self, app: u64) {
        let below = self.root.join(app.to_string());
        self.own.retain(|file| {
            let ours = file.starts_with(&below);
            if ours {
                let _ = fs::remove_file(file);
            }
            !ours
        });
    }

    fn remove(&mut self, app: u64, service: &str) {
        for file in self.files(app, service) {
            // A lock may also be a directory.
            let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir_all(&file));
            self.own.remove(&file);
        }
    }

    fn clear(&mut self) {
        self.own.clear();
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::create_dir_all(&self.root);
    }
}

/// Locks in memory, for tests of the model.
#[derive(Debug, Default)]
pub struct LocksInMemory {
    foreign: BTreeSet<(u64, String)>,
    own: BTreeSet<(u64, String)>,
}

impl LocksInMemory {
    /// A container takes its lock.
    pub fn lock(&mut self, app: u64, service: &str) {
        self.foreign.insert((app, service.to_owned()));
    }
}

impl UpdateLocks for LocksInMemory {
    fn held(&self, app: u64, service: &str) -> bool {
        self.foreign.contains(&(app, service.to_owned()))
    }
    fn take(&mut self, app: u64, service: &str) {
        self.own.insert((app, service.to_owned()));
    }
    fn release(&mut self, app: u64) {
        self.own.retain(|(id, _)| *id != app);
    }
    fn remove(&mut self, app: u64, service: &str) {
        self.foreign.remove(&(app, service.to_owned()));
        self.own.remove(&(app, service.to_owned()));
    }
    fn clear(&mut self) {
        self.foreign.clear();
        self.own.clear();
    }
}
