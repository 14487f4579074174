//! Opening the store: one agent a directory, and never a new identity by mistake.

use super::disk::{CURRENT, Disk, PREVIOUS};
use super::document::{self, Damage, Document};
use super::{Inner, StateFile};
use baseos_interfaces::token::TokenError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use secrecy::zeroize::Zeroizing;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const MISSING: &str = "missing";
/// Nothing an agent writes comes near this; a file beyond it is garbage and is not read into memory.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// An opened store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub file: StateFile,
    /// Nothing was stored before: this is the first start, or the volume is new.
    pub fresh: bool,
    /// The newest file was unusable and the one before it was taken: what was wrong, for people.
    pub recovered: Option<String>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another agent works in this directory. The process should exit with status 75.
    #[error("another baserunner is using the state directory {}: stop it first, or set BASEOS_STATE_DIR to another directory", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No generation of the state is readable. Starting anyway would make this box a new one.
    #[error(
        "no usable state: {} is damaged ({current_damage}) and {} cannot replace it ({previous_damage}). \
         Restore one of them from a backup; or, to give up this node's identity and enrol it anew, remove both",
        .current.display(), .previous.display()
    )]
    Damaged {
        /// The newest file.
        current: PathBuf,
        /// What is wrong with it.
        current_damage: String,
        /// The one before it.
        previous: PathBuf,
        /// What is wrong with it.
        previous_damage: String,
    },
    /// A later version of the agent wrote it.
    #[error(
        "{} has version {version}, this baserunner understands up to {}: start the newer baserunner again",
        .path.display(), document::VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file is whole but holds something else where a token belongs.
    #[error(
        "the {slot} in {} is damaged: {source}. Restore the file from a backup, or remove it together with {} \
         to enrol this node anew", .path.display(), PREVIOUS
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// Which token.
        slot: &'static str,
        /// What is wrong with it.
        source: TokenError,
    },
}

/// What reading one file brought.
enum Found {
    Nothing,
    Document(Box<Document>, u64),
    Damaged(String),
}

impl StateFile {
    /// Opens the store in `dir`, makes the directory if there is none, and keeps every other agent out of it for
    /// as long as the store lives.
    ///
    /// # Errors
    /// When another agent is in there, when the file system refuses, or when what is stored cannot be
    /// understood; a new identity is never the silent consequence of a damaged file.
    pub fn open(dir: impl AsRef<Path>) -> Result<Opened, OpenError> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|source| OpenError::Io {
                    path: dir.to_owned(),
                    source,
                })?;
        }
        let lock = lock(dir)?;
        let (current, previous) = (dir.join(CURRENT), dir.join(PREVIOUS));
        let damage = match read(&current)? {
            Found::Document(document, generation) => {
                return Ok(Opened {
                    file: start(dir, lock, *document, generation, true),
                    fresh: false,
                    recovered: None,
                });
            }
            Found::Nothing => None,
            Found::Damaged(why) => Some(why),
        };
        // The previous one is looked at only when it is needed: whatever is wrong with it is nobody's problem.
        let (document, generation, recovered) = match (read(&previous)?, damage) {
            (Found::Nothing, None) => (Document::default(), 0, None),
            (Found::Document(document, generation), damage) => {
                let what = damage.map_or_else(|| MISSING.to_owned(), |why| format!("damaged: {why}"));
                let problem = format!(
                    "{}: {what}; the generation before it was taken",
                    current.display()
                );
                tracing::warn!(problem, generation, "the state was recovered");
                (*document, generation, Some(problem))
            }
            (found, damage) => {
                return Err(OpenError::Damaged {
                    current,
                    current_damage: damage.unwrap_or_else(|| MISSING.to_owned()),
                    previous,
                    previous_damage: if let Found::Damaged(why) = found {
                        why
                    } else {
                        MISSING.to_owned()
                    },
                });
            }
        };
        let fresh = recovered.is_none();
        Ok(Opened {
            file: start(dir, lock, document, generation, false),
            fresh,
            recovered,
        })
    }
}

fn start(dir: &Path, lock: File, document: Document, generation: u64, current_is_good: bool) -> StateFile {
    let mut disk = Disk::new(dir.to_owned(), current_is_good);
    disk.tidy();
    disk.keep_reserve();
    // What is not in the newest file must be written with the next save, even when nothing changes.
    StateFile::new(lock, Inner::new(disk, document, generation, !current_is_good))
}

/// Takes the directory. The lock is the kernel's: it ends with the process, however that ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let file = match OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
    {
        // A file system gone read-only still lets the agent report what is wrong with it.
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            File::open(&path).or_else(|_| File::open(dir)).map_err(io)?
        }
        other => other.map_err(io)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(error) => Err(io(error.into())),
    }
}

fn read(path: &Path) -> Result<Found, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    match file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Ok(_) => {}
        // A medium that cannot be read is damage like any other.
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            return Ok(Found::Damaged("the medium has a read error".to_owned()));
        }
        Err(error) => return Err(io(error)),
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Ok(Found::Damaged("it is far too large".to_owned()));
    }
    match document::decode(&bytes) {
        Ok((document, generation)) => Ok(Found::Document(Box::new(document), generation)),
        Err(Damage::Corrupt(why)) => Ok(Found::Damaged(why)),
        Err(Damage::Newer(version)) => Err(OpenError::Newer {
            path: path.to_owned(),
            version,
        }),
        Err(Damage::Token(slot, source)) => Err(OpenError::Token {
            path: path.to_owned(),
            slot,
            source,
        }),
    }
}
