//! The store as the keeper of tokens.

use super::document::Credentials;
use super::{Inner, SaveError, StateFile};
use crate::vault::{Vault, VaultError};
use baseos_interfaces::token::{Token, TokenId, TokenKind};

/// How many join tokens of one run are kept in memory; the machine works on one at a time.
const OFFERED_MAX: usize = 8;

impl Vault for StateFile {
    fn node_token(&self) -> Option<Token> {
        self.inner().present().cloned()
    }

    fn store_node_token(&self, token: &Token) -> Result<(), VaultError> {
        must_be(token, TokenKind::Node)?;
        let mut inner = self.inner();
        let before = inner.document.credentials.clone();
        inner.document.credentials = Credentials {
            node: Some(token.clone()),
            next: None,
            join: before.join.clone(),
        };
        inner.remember_endpoint();
        inner.write_or_restore(before)?;
        inner.refused.clear();
        Ok(())
    }

    fn store_next_token(&self, token: &Token) -> Result<(), VaultError> {
        must_be(token, TokenKind::Node)?;
        let mut inner = self.inner();
        let before = inner.document.credentials.clone();
        let is_this = |known: &Token| known.expose() == token.expose();
        if !inner.dirty && [&before.node, &before.next].into_iter().flatten().any(is_this) {
            return Ok(());
        }
        // The present one is what Cloudly just answered to, so it is what must not be lost; that can be an
        // earlier `next` whose acceptance was not seen yet.
        let present = inner.present().cloned();
        inner.document.credentials = Credentials {
            node: present,
            next: Some(token.clone()),
            join: before.join.clone(),
        };
        inner.write_or_restore(before)?;
        inner.refused.remove(token.id());
        Ok(())
    }

    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError> {
        let mut inner = self.inner();
        inner.refused.remove(id);
        let credentials = &mut inner.document.credentials;
        if credentials.next.as_ref().is_some_and(|next| next.id() == id) {
            credentials.node = credentials.next.take();
            inner.dirty = true;
        }
        inner.remember_endpoint();
        inner.save().map_err(vault_error)
    }

    fn token_refused(&self, id: &TokenId) {
        let mut inner = self.inner();
        inner.refused.insert(id.clone());
        let credentials = &inner.document.credentials;
        let all_refused = [&credentials.node, &credentials.next]
            .into_iter()
            .flatten()
            .all(|token| inner.refused.contains(token.id()));
        if all_refused {
            // A refusal can be Cloudly's mistake (a database brought back from a backup). An agent without a
            // token would never find out that it is over, so the others come round again; the back-off is the
            // machine's.
            inner.refused.clear();
            if inner.document.credentials.next.is_some() {
                inner.refused.insert(id.clone());
            }
        }
    }

    fn join_token(&self, id: &TokenId) -> Option<Token> {
        let inner = self.inner();
        let stored = inner.document.credentials.join.iter();
        stored
            .chain(&inner.offered)
            .find(|token| token.id() == id)
            .cloned()
    }

    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError> {
        must_be(token, TokenKind::Join)?;
        let mut inner = self.inner();
        let before = inner.document.credentials.clone();
        if !inner.dirty
            && before
                .join
                .as_ref()
                .is_some_and(|known| known.expose() == token.expose())
        {
            return Ok(());
        }
        inner.document.credentials.join = Some(token.clone());
        let replaced = before.join.clone();
        inner.write_or_restore(before)?;
        // A registration with the earlier one may be under way and be repeated.
        if let Some(replaced) = replaced {
            inner.lend(replaced);
        }
        Ok(())
    }

    fn forget_join_token(&self, id: &TokenId) -> Result<(), VaultError> {
        let mut inner = self.inner();
        inner.offered.retain(|token| token.id() != id);
        if inner
            .document
            .credentials
            .join
            .as_ref()
            .is_some_and(|join| join.id() == id)
        {
            inner.document.credentials.join = None;
            inner.dirty = true;
        }
        inner.save().map_err(vault_error)
    }
}

impl Inner {
    /// The newest node token that was not refused.
    fn present(&self) -> Option<&Token> {
        let Credentials { node, next, .. } = &self.document.credentials;
        [next, node]
            .into_iter()
            .flatten()
            .find(|token| !self.refused.contains(token.id()))
    }

    /// Keeps a join token in memory for this run.
    pub(super) fn lend(&mut self, token: Token) {
        self.offered.retain(|known| known.id() != token.id());
        if self.offered.len() == OFFERED_MAX {
            self.offered.remove(0);
        }
        self.offered.push(token);
    }

    /// Writes changed credentials; when that fails they are as before, in memory too: a token that is not stored
    /// must not be used.
    fn write_or_restore(&mut self, before: Credentials) -> Result<(), VaultError> {
        self.write_credentials().map_err(|error| {
            self.document.credentials = before;
            vault_error(error)
        })
    }
}

fn must_be(token: &Token, kind: TokenKind) -> Result<(), VaultError> {
    // Stored in the wrong place it could not be read back, and the agent would not start again.
    if token.kind() == kind {
        Ok(())
    } else {
        Err(VaultError(format!(
            "{} is not a token that starts with `{}`",
            token.id(),
            kind.prefix()
        )))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` wants")]
fn vault_error(error: SaveError) -> VaultError {
    VaultError(error.to_string())
}
