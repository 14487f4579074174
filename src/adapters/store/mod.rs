//! The agent's memory: one file, `state.json`, that holds its credentials, where Cloudly is, and the machine's
//! checkpoint.
//!
//! - A save that returned `Ok` is on the disk. A save that failed left an older document in place, and the newest
//!   one in memory, so a later save that succeeds writes everything.
//! - At every instant a whole document stands under `state.json` or `state.json.previous`. Whatever damages the
//!   newest file, the one before it is taken instead, and the agent says so.
//! - A 64 KiB file, `reserve`, is there to be given up when the disk is full, so that the state can still be
//!   written then. It is filled up again as far as there is space, so it serves one save after the other.
//!
//! Everything here blocks. It is called from the async runtime on purpose: the files are small, and no effect
//! may leave before they are on the disk anyway.

mod disk;
mod document;
mod open;
mod vault;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vault_tests;

pub use open::{OpenError, Opened};

use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenId};
use disk::Disk;
use document::Document;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The agent's memory on disk. Also the [`Vault`](crate::vault::Vault).
pub struct StateFile {
    /// Flocked for as long as this lives.
    _lock: File,
    inner: Mutex<Inner>,
}

struct Inner {
    disk: Disk,
    document: Document,
    generation: u64,
    /// Whether the disk may hold something else than `document`.
    dirty: bool,
    /// The Cloudly of this run.
    in_use: Option<Endpoint>,
    /// Node tokens that Cloudly refused in this run.
    refused: BTreeSet<TokenId>,
    /// Join tokens of this run that are not on the disk: from the configuration, or replaced by a later offer.
    offered: Vec<Token>,
}

/// A save failed; what was stored before is still stored.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The disk refused.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The value cannot be written as JSON; a defect in the agent.
    #[error("cannot write the state as JSON: {0}")]
    Encode(serde_json::Error),
}

/// A checkpoint is stored, but is not one this agent understands.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint in {} is not one this baserunner understands: {source}", .path.display())]
pub struct CheckpointError {
    path: PathBuf,
    source: serde_json::Error,
}

impl StateFile {
    fn new(lock: File, inner: Inner) -> Self {
        Self {
            _lock: lock,
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make the document in memory a wrong one: it changes in single assignments.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the machine's checkpoint. One that is stored already is not written again.
    ///
    /// # Errors
    /// When it cannot be written. It stays in memory and goes to the disk with the next save that succeeds.
    pub fn save_checkpoint<T: Serialize>(&self, checkpoint: &T) -> Result<(), SaveError> {
        let checkpoint = Some(serde_json::to_value(checkpoint).map_err(SaveError::Encode)?);
        let mut inner = self.inner();
        if inner.document.checkpoint != checkpoint {
            inner.document.checkpoint = checkpoint;
            inner.dirty = true;
        }
        inner.save()
    }

    /// The checkpoint that was saved last; `None` if there never was one.
    ///
    /// # Errors
    /// When what is stored has another form; the message says where.
    pub fn load_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let inner = self.inner();
        let Some(checkpoint) = inner.document.checkpoint.clone() else {
            return Ok(None);
        };
        serde_json::from_value(checkpoint)
            .map(Some)
            .map_err(|source| CheckpointError {
                path: inner.disk.current(),
                source,
            })
    }

    /// Where Cloudly was when the node last was told.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.inner().document.endpoint.clone()
    }

    /// Uses this Cloudly for this run. It is remembered once it has accepted one of the node's tokens, for a start
    /// whose environment does not say where Cloudly is: a release that forgets it must not lose the box.
    pub fn use_endpoint(&self, endpoint: Endpoint) {
        self.inner().in_use = Some(endpoint);
    }

    /// Whether this node has an identity.
    pub fn has_credentials(&self) -> bool {
        let inner = self.inner();
        inner.document.credentials.node.is_some() || inner.document.credentials.next.is_some()
    }

    /// The join token to offer in this run: one that came over the local API in an earlier run and was not used up,
    /// else the configuration's, or what is wrong with that. One that somebody handed over by hand is newer.
    ///
    /// The configuration's token is kept in memory only: it stands in the configuration.
    pub fn join_token_to_offer(
        &self,
        configured: Option<&Result<Token, String>>,
    ) -> Option<Result<TokenId, String>> {
        let mut inner = self.inner();
        if let Some(Ok(token)) = configured {
            inner.lend(token.clone());
        }
        let stored = inner.document.credentials.join.as_ref();
        let configured = configured.map(|token| token.as_ref().map_err(Clone::clone));
        stored
            .map(Ok)
            .or(configured)
            .map(|token| token.map(|token| token.id().clone()))
    }

    #[cfg(test)]
    fn on_step(&self, fault: Option<disk::Fault>) {
        self.inner().disk.fault = fault;
    }

    #[cfg(test)]
    fn generation(&self) -> u64 {
        self.inner().generation
    }
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("StateFile")
            .field("path", &inner.disk.current())
            .field("generation", &inner.generation)
            .field("dirty", &inner.dirty)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn new(disk: Disk, document: Document, generation: u64, dirty: bool) -> Self {
        Self {
            disk,
            document,
            generation,
            dirty,
            in_use: None,
            refused: BTreeSet::new(),
            offered: Vec::new(),
        }
    }

    /// The Cloudly of this run has accepted a token: it is written with the next save.
    fn remember_endpoint(&mut self) {
        if self.in_use.is_some() && self.document.endpoint != self.in_use {
            self.document.endpoint.clone_from(&self.in_use);
            self.dirty = true;
        }
    }

    /// Writes the document if the disk does not hold it.
    fn save(&mut self) -> Result<(), SaveError> {
        if self.dirty { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), SaveError> {
        // Until the last step succeeded nobody knows which document a power cut would leave.
        self.dirty = true;
        self.generation += 1;
        let bytes = document::encode(&self.document, self.generation).map_err(SaveError::Encode)?;
        self.disk.replace(&bytes).map_err(|source| SaveError::Write {
            path: self.disk.current(),
            source,
        })?;
        self.dirty = false;
        Ok(())
    }

    /// Writes new credentials. They go into both generations: the damage of one file must not cost the box its
    /// identity, for the join token that made it is spent.
    fn write_credentials(&mut self) -> Result<(), SaveError> {
        self.write()?;
        if let Err(error) = self.write() {
            tracing::warn!(%error, "the credentials are stored, but only once");
        }
        Ok(())
    }
}
