//! Opening the store: one agent per directory, and no new identity because of a damaged file.

use super::dir_lock::{self, DirLock};
use super::disk::{CURRENT, Disk, PREVIOUS};
use super::document::{self, DecodeError, Document};
use super::state_file::{Inner, StateFile};
use crate::durable_file::{self, is_damage};
use baseos_interfaces::token::TokenError;
use secrecy::zeroize::Zeroizing;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

const MISSING: &str = "missing";

#[derive(Debug)]
pub struct Opened {
    pub file: StateFile,
    /// There was no stored state: this is the first start, or the volume is new.
    pub fresh: bool,
    /// Set if the previous file was used: what is wrong with the newest one.
    pub recovered: Option<String>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process should exit with status 75.
    #[error("another baserunner is using the state directory {}: stop it first, or set BASEOS_STATE_DIR to another directory", .dir.display())]
    InUse { dir: PathBuf },
    #[error("cannot use {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    /// No generation of the state is readable. Starting without one would make this a new node.
    #[error(
        "no usable state: {} is damaged ({current_damage}) and {} cannot replace it ({previous_damage}). \
         Restore one of them from a backup; or, to give up this node's identity and enrol it again, remove both",
        .current.display(), .previous.display()
    )]
    Damaged {
        current: PathBuf,
        current_damage: String,
        previous: PathBuf,
        previous_damage: String,
    },
    /// Written by a newer agent, and neither file has credentials that this one can read.
    #[error(
        "{} has version {version}, this baserunner understands up to {}: start the newer baserunner again",
        .path.display(), document::VERSION
    )]
    Newer { path: PathBuf, version: u32 },
    /// The file is undamaged but the value of this member is not a token.
    #[error(
        "the {member} in {} is damaged: {source}. Restore the file from a backup, or remove it together with {} \
         to enrol this node again", .path.display(), PREVIOUS
    )]
    Token {
        path: PathBuf,
        member: &'static str,
        source: TokenError,
    },
}

/// The result of reading one file.
enum Found {
    Missing,
    Document(Box<Document>, u64),
    Damaged(String),
    /// Without credentials that this agent can read.
    Newer(u32),
}

impl StateFile {
    /// Opens the store in `dir`, creating the directory if needed, and locks it against other agents for as long as
    /// the store exists.
    ///
    /// # Errors
    /// When another agent uses the directory, on an IO error, and when the stored state cannot be read: a damaged file
    /// must not lead to a new identity.
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
        let lock = DirLock::take(dir).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
            _ => OpenError::Io {
                path: dir.join(dir_lock::NAME),
                source,
            },
        })?;
        let (current, previous) = (dir.join(CURRENT), dir.join(PREVIOUS));
        let unusable = match read(&current)? {
            Found::Document(document, generation) => {
                return Ok(Opened {
                    file: start(dir, lock, *document, generation, Current::Used),
                    fresh: false,
                    recovered: None,
                });
            }
            unusable => unusable,
        };
        // The previous file is read only when it is needed, so its damage matters only then.
        let (document, generation) = match (read(&previous)?, &unusable) {
            (Found::Missing, Found::Missing) => {
                return Ok(Opened {
                    file: start(dir, lock, Document::default(), 0, Current::Unusable),
                    fresh: true,
                    recovered: None,
                });
            }
            (Found::Document(document, generation), _) => (*document, generation),
            (_, Found::Newer(version)) => {
                let (path, version) = (current, *version);
                return Err(OpenError::Newer { path, version });
            }
            (Found::Newer(version), _) => {
                let path = previous;
                return Err(OpenError::Newer { path, version });
            }
            (found, unusable) => {
                return Err(OpenError::Damaged {
                    current,
                    current_damage: unusable.in_words(),
                    previous,
                    previous_damage: found.in_words(),
                });
            }
        };
        let damage = match &unusable {
            Found::Damaged(damage) => format!("damaged: {damage}"),
            unusable => unusable.in_words(),
        };
        let problem = format!("{}: {damage}; the previous generation is used", current.display());
        tracing::warn!(problem, generation, "the state was recovered");
        let current = match unusable {
            Found::Newer(_) => Current::Newer,
            _ => Current::Unusable,
        };
        Ok(Opened {
            file: start(dir, lock, document, generation, current),
            fresh: false,
            recovered: Some(problem),
        })
    }
}

impl Found {
    /// What is wrong with a file that is not used.
    fn in_words(&self) -> String {
        match self {
            Self::Damaged(damage) => damage.clone(),
            Self::Newer(version) => format!("a newer agent wrote it (version {version})"),
            Self::Missing | Self::Document(..) => MISSING.to_owned(),
        }
    }
}

/// What the newest file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Used,
    /// A newer agent's, and this one reads the previous file.
    Newer,
    Unusable,
}

fn start(dir: &Path, lock: DirLock, document: Document, generation: u64, current: Current) -> StateFile {
    let is_used = current == Current::Used;
    let mut disk = Disk::new(dir.to_owned(), is_used);
    disk.remove_leftovers();
    if document.newer.is_some() || current == Current::Newer {
        disk.keep_newer();
    }
    disk.fill_reserve();
    // Without a valid newest file, the next save must write the document even if it is unchanged.
    StateFile::new(lock, Inner::new(disk, document, generation, !is_used))
}

fn read(path: &Path) -> Result<Found, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = match durable_file::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(Found::Damaged(error.to_string())),
        Err(error) if is_damage(&error) => return Ok(Found::Damaged(error.to_string())),
        Err(error) => return Err(io(error)),
    };
    match document::read(&bytes) {
        Ok((document, generation)) => Ok(Found::Document(Box::new(document), generation)),
        Err(DecodeError::Corrupt(damage)) => Ok(Found::Damaged(damage)),
        Err(DecodeError::Newer(version)) => Ok(Found::Newer(version)),
        Err(DecodeError::Token(member, source)) => Err(OpenError::Token {
            path: path.to_owned(),
            member,
            source,
        }),
    }
}
