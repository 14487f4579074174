//! The opened state file: its document in memory, and how it is saved.

use super::dir_lock::DirLock;
use super::disk::Disk;
use super::document::{self, Document};
use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenId};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many join tokens of one run are kept in memory; the machine uses one at a time.
const JOIN_TOKENS_MAX: usize = 8;

/// The agent's state file. Also the [`Vault`](crate::vault::Vault).
pub struct StateFile {
    /// Keeps the directory locked for as long as this value exists.
    _lock: DirLock,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    disk: Disk,
    pub(super) document: Document,
    generation: u64,
    /// Whether the disk may hold something other than `document`.
    pub(super) dirty: bool,
    /// Whether a newer agent's file is kept beside.
    keeps_newer: bool,
    /// The Cloudly that is used in this run.
    endpoint_in_use: Option<Endpoint>,
    /// Node tokens that Cloudly refused in this run.
    pub(super) refused: BTreeSet<TokenId>,
    /// Join tokens of this run that are not on disk: from the configuration, or replaced by a later one.
    pub(super) unsaved_join_tokens: Vec<Token>,
}

/// A save failed; a complete document, in general the previous one, is on disk.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A defect in the agent.
    #[error("cannot write the state as JSON: {0}")]
    Encode(serde_json::Error),
    /// What is on disk stays as it is: it can be read.
    #[error("the state cannot be saved: it could not be read again: {0}")]
    Unreadable(String),
}

impl StateFile {
    pub(super) fn new(lock: DirLock, inner: Inner) -> Self {
        Self {
            _lock: lock,
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in another thread leaves the document valid, because it changes by single assignments.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the machine's checkpoint. An unchanged one is not written again.
    ///
    /// # Errors
    /// When it cannot be written. It stays in memory and is written by the next successful save, unless it could not be
    /// read again: it would hold up those of credentials.
    pub fn save_checkpoint<T: Serialize>(&self, checkpoint: &T) -> Result<(), SaveError> {
        // Through text, as the journal is: the checkpoint is compiled for one serializer alone.
        let text = serde_json::to_vec(checkpoint).map_err(SaveError::Encode)?;
        let checkpoint = Some(serde_json::from_slice(&text).map_err(SaveError::Encode)?);
        let mut inner = self.inner();
        if inner.document.checkpoint == checkpoint {
            return inner.save();
        }
        let before = std::mem::replace(&mut inner.document.checkpoint, checkpoint);
        inner.dirty = true;
        let saved = inner.save();
        if matches!(saved, Err(SaveError::Unreadable(_))) {
            inner.document.checkpoint = before;
        }
        saved
    }

    /// The last saved checkpoint; `None` if there never was one.
    pub fn checkpoint(&self) -> Option<Value> {
        self.inner().document.checkpoint.clone()
    }

    /// The checkpoint that was kept when an agent of a later version began.
    pub fn earlier_checkpoint(&self) -> Option<Value> {
        self.inner().document.earlier.clone()
    }

    /// The version of the file that was opened, where a newer agent wrote it.
    pub fn newer_version(&self) -> Option<u32> {
        self.inner().document.newer
    }

    /// Keeps the present checkpoint beside those that are saved from now on, so that the agent that wrote it can go on
    /// from it. Written by the next save.
    pub fn keep_earlier_checkpoint(&self) {
        let mut inner = self.inner();
        if inner.document.checkpoint.is_some() {
            inner.document.earlier = inner.document.checkpoint.clone();
            inner.dirty = true;
        }
    }

    /// No agent of an earlier version comes back any more. Written by the next save.
    pub fn forget_earlier_checkpoint(&self) {
        let mut inner = self.inner();
        if inner.document.earlier.take().is_some() {
            inner.dirty = true;
        }
    }

    /// The last stored endpoint of Cloudly.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.inner().document.endpoint.clone()
    }

    /// Sets the Cloudly of this run. It is stored once it has accepted one of the node's tokens, for a later start
    /// without a configured endpoint: a release that omits it must not cut the node off from Cloudly.
    pub fn use_endpoint(&self, endpoint: Endpoint) {
        self.inner().endpoint_in_use = Some(endpoint);
    }

    /// Whether a node token is stored.
    pub fn has_credentials(&self) -> bool {
        self.inner().document.credentials.node_tokens().next().is_some()
    }

    /// The join token of this run: the stored one (from the local API in an earlier run, not used yet), which is newer,
    /// else the configured one or why it is invalid.
    ///
    /// The configured token is kept in memory only.
    pub fn join_token_to_offer(
        &self,
        configured: Option<&Result<Token, String>>,
    ) -> Option<Result<TokenId, String>> {
        let mut inner = self.inner();
        if let Some(Ok(token)) = configured {
            inner.keep_join_token(token.clone());
        }
        let stored = inner.document.credentials.join.as_ref();
        let configured = configured.map(|token| token.as_ref().map_err(Clone::clone));
        stored
            .map(Ok)
            .or(configured)
            .map(|token| token.map(|token| token.id().clone()))
    }

    /// Calls `fault` before each step on the disk; an error it returns fails the step.
    #[cfg(test)]
    pub(super) fn on_step(&self, fault: Option<super::disk::Fault>) {
        self.inner().disk.fault = fault;
    }

    #[cfg(test)]
    pub(super) fn generation(&self) -> u64 {
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
    pub(super) fn new(disk: Disk, document: Document, generation: u64, dirty: bool) -> Self {
        Self {
            keeps_newer: disk.has_newer(),
            disk,
            document,
            generation,
            dirty,
            endpoint_in_use: None,
            refused: BTreeSet::new(),
            unsaved_join_tokens: Vec::new(),
        }
    }

    /// Cloudly has accepted a token, and it is saved: this agent goes on from its own file.
    pub(super) fn forget_newer(&mut self) {
        if std::mem::take(&mut self.keeps_newer) {
            self.disk.forget_newer();
        }
    }

    /// Puts the endpoint of this run into the document, for the next save; called when Cloudly has accepted a token.
    pub(super) fn set_endpoint_in_use(&mut self) {
        if self.endpoint_in_use.is_some() && self.document.endpoint != self.endpoint_in_use {
            self.document.endpoint.clone_from(&self.endpoint_in_use);
            self.dirty = true;
        }
    }

    /// Keeps a join token in memory for this run.
    pub(super) fn keep_join_token(&mut self, token: Token) {
        self.unsaved_join_tokens.retain(|known| known.id() != token.id());
        if self.unsaved_join_tokens.len() == JOIN_TOKENS_MAX {
            self.unsaved_join_tokens.remove(0);
        }
        self.unsaved_join_tokens.push(token);
    }

    /// Writes the document if the disk may not hold it.
    pub(super) fn save(&mut self) -> Result<(), SaveError> {
        if self.dirty { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), SaveError> {
        // Until the last step has succeeded, a power cut may leave the old or the new document.
        self.dirty = true;
        self.generation += 1;
        let bytes = document::encode(&self.document, self.generation).map_err(SaveError::Encode)?;
        document::read(&bytes).map_err(|error| SaveError::Unreadable(error.to_string()))?;
        self.disk.replace(&bytes).map_err(|source| SaveError::Write {
            path: self.disk.current(),
            source,
        })?;
        self.dirty = false;
        Ok(())
    }

    /// Writes new credentials into both generations: damage of one file must not cost the node its identity, because
    /// its join token is spent.
    pub(super) fn write_credentials(&mut self) -> Result<(), SaveError> {
        self.write()?;
        if let Err(error) = self.write() {
            tracing::warn!(%error, "the credentials are stored in one generation only");
        }
        Ok(())
    }
}
