//! balena's update-lock files, held for whoever holds a lease on the local API.
//!
//! Two parties look at them, each in its own way: the Supervisor asks whether a file of that name **exists**
//! (whoever made it, whatever is in it, unless uid 65534 owns it: those it takes for its own leftovers and
//! removes), and the host's `safe_reboot` asks whether somebody has it **flocked**. So the files are created
//! exclusively and flocked, both, as long as a lease lives.
//!
//! A killed agent leaves the files without the flock: updates stay blocked, which is the safe side, until the
//! next start adopts them. Foreign files are never touched, and neither is a file that took the place
//! of ours (a forced update deletes lock files).

mod files;
#[cfg(test)]
mod tests;

use crate::lifecycle::effect::{Effect, OpId};
use crate::lifecycle::event::Event;
use files::{Claim, Held, Inspected};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Receiver, Sender};

/// The names both count, today's and the one from before.
const NAMES: [&str; 2] = ["updates.lock", "resin-updates.lock"];
/// The uid the Supervisor's own locks have.
const SUPERVISOR_UID: u32 = 65534;

/// The update-lock files of one directory: the port for [`Effect::HoldLockFiles`] and
/// [`Effect::ReleaseLockFiles`].
#[derive(Debug)]
pub struct LockFiles {
    dir: PathBuf,
    uid: u32,
    held: BTreeMap<&'static str, Held>,
}

/// A lock file somebody else made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignLock {
    /// Where it is.
    pub path: PathBuf,
    /// The Supervisor made it for the time it works; it will go by itself.
    pub transient: bool,
}

/// The paths of foreign lock files that hold updates back, as the host poller reports them. The Supervisor's own come
/// and go with its work; reporting them would make every update look blocked by somebody else.
pub fn blocking(dir: &Path) -> Vec<String> {
    foreign(dir)
        .into_iter()
        .filter(|lock| !lock.transient)
        .map(|lock| lock.path.to_string_lossy().into_owned())
        .collect()
}

/// The lock files in `dir` that are not this agent's. A directory that is not there has none.
pub fn foreign(dir: &Path) -> Vec<ForeignLock> {
    NAMES
        .iter()
        .map(|name| dir.join(name))
        .filter_map(|path| match files::inspect(&path) {
            Inspected::Foreign { transient } => Some(ForeignLock { path, transient }),
            Inspected::Nothing | Inspected::Ours(_) => None,
        })
        .collect()
}

impl LockFiles {
    /// For the directory the Supervisor mounts into the agent's container (`BASEOS_LOCK_DIR`). Touches nothing yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            uid: rustix::process::geteuid().as_raw(),
            held: BTreeMap::new(),
        }
    }

    /// Performs effects until the mailbox closes. The files stay as they are then: leases outlive the agent's
    /// process, and the next one adopts the files.
    ///
    /// Files that an earlier process left are adopted at once, so that there is no moment without the flock; the
    /// machine's first `HoldLockFiles` or `ReleaseLockFiles` decides about them.
    pub async fn serve(mut self, mut mailbox: Receiver<Effect>, events: Sender<Event>) {
        self.adopt();
        while let Some(effect) = mailbox.recv().await {
            let Some((op, problem)) = self.perform(&effect) else {
                tracing::error!(
                    effect = effect.name(),
                    "the lock files were given an effect of another port"
                );
                continue;
            };
            if events
                .send(Event::LockFilesSettled { op, problem })
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn perform(&mut self, effect: &Effect) -> Option<(OpId, Option<String>)> {
        match effect {
            Effect::HoldLockFiles { op, holders } => Some((*op, self.hold(holders))),
            Effect::ReleaseLockFiles { op } => Some((*op, self.release())),
            _ => None,
        }
    }

    /// Takes over the flock of files an earlier process of this agent left behind.
    pub fn adopt(&mut self) {
        if self.uid == SUPERVISOR_UID {
            return;
        }
        for name in NAMES {
            if let Inspected::Ours(file) = files::inspect(&self.dir.join(name))
                && let Claim::Taken(held) = files::claim(file, &self.dir.join(name))
            {
                tracing::info!(name, "adopted an update lock that an earlier run left");
                self.held.insert(name, held);
            }
        }
    }

    /// Creates and flocks both files, or keeps those that are held already. Returns what went wrong; what could
    /// be held is held all the same.
    pub fn hold(&mut self, holders: &[String]) -> Option<String> {
        if self.uid == SUPERVISOR_UID {
            return Some(format!(
                "baserunner runs as uid {SUPERVISOR_UID}: the Supervisor would take its update locks for its own \
                 leftovers and remove them; run it as another user"
            ));
        }
        if !self.dir.is_dir() {
            return Some(format!(
                "there is no update-lock directory {}: the Supervisor mounts one into every container it starts; \
                 a container started otherwise needs the volume \
                 /tmp/balena-supervisor/services/<app id>/<service>:{} (or BASEOS_LOCK_DIR set)",
                self.dir.display(),
                self.dir.display()
            ));
        }
        let content = files::tag(holders);
        let problems: Vec<String> = NAMES
            .into_iter()
            .filter_map(|name| self.hold_one(name, &content).err())
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn hold_one(&mut self, name: &'static str, content: &[u8]) -> Result<(), String> {
        let path = self.dir.join(name);
        let cannot = |error: std::io::Error| format!("cannot hold {}: {error}", path.display());
        if let Some(held) = self.held.remove(name) {
            if held.is_at(&path) {
                held.write(content).map_err(cannot)?;
                self.held.insert(name, held);
                return Ok(());
            }
            tracing::warn!(
                name,
                "an update lock was removed by somebody else, e.g. by a forced update"
            );
        }
        // What is there may vanish between two looks; a few rounds settle it.
        for _ in 0..3 {
            match files::create(&self.dir, &path, content) {
                Ok(held) => {
                    self.held.insert(name, held);
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot(error)),
            }
            match files::inspect(&path) {
                Inspected::Nothing => {}
                Inspected::Foreign { transient: true } => {
                    return Err(format!(
                        "{} is held by the Supervisor for as long as it works",
                        path.display()
                    ));
                }
                Inspected::Foreign { transient: false } => {
                    return Err(format!(
                        "{} was made by somebody else and is left alone",
                        path.display()
                    ));
                }
                Inspected::Ours(file) => match files::claim(file, &path) {
                    Claim::Taken(held) => {
                        held.write(content).map_err(cannot)?;
                        self.held.insert(name, held);
                        return Ok(());
                    }
                    Claim::Busy => return Err(format!("{} is held by another baserunner", path.display())),
                    Claim::Gone => {}
                },
            }
        }
        Err(format!(
            "{} comes and goes: somebody else is using it",
            path.display()
        ))
    }

    /// Removes the files that are ours, held or left behind by an earlier run, and lets go of them. Returns what
    /// went wrong; that a file is gone already is not wrong.
    pub fn release(&mut self) -> Option<String> {
        self.adopt();
        let held = std::mem::take(&mut self.held);
        let problems: Vec<String> = held
            .into_iter()
            .filter_map(|(name, held)| {
                let path = self.dir.join(name);
                held.remove(&path)
                    .err()
                    .map(|error| format!("cannot remove {}: {error}", path.display()))
            })
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}
