//! The store as the vault of tokens.

use super::document::{Credentials, Identity};
use super::state_file::{Inner, SaveError, StateFile};
use crate::vault::{Vault, VaultError};
use baseos_interfaces::token::{Token, TokenId, TokenKind};

#[cfg(test)]
mod tests;

impl Vault for StateFile {
    fn node_token(&self) -> Option<Token> {
        self.inner().current_token().cloned()
    }

    fn node_id(&self) -> Option<String> {
        self.inner().document.credentials.node_id.clone()
    }

    fn store_node_token(&self, token: &Token, node_id: &str) -> Result<(), VaultError> {
        require_kind(token, TokenKind::Node)?;
        let mut inner = self.inner();
        let before = inner.document.credentials.clone();
        // Of identities that were never accepted only the last is kept, beside the one that was.
        let replaced = inner.current_token().map(|token| Identity {
            token: token.clone(),
            node_id: before.node_id.clone(),
        });
        inner.document.credentials = Credentials {
            node: Some(token.clone()),
            node_id: Some(node_id.to_owned()),
            earlier: before.earlier.clone().or(replaced),
            join: before.join.clone(),
            ..Credentials::default()
        };
        inner.set_endpoint_in_use();
        inner.write_or_restore(before)?;
        inner.refused.clear();
        Ok(())
    }

    fn store_next_token(&self, token: &Token) -> Result<(), VaultError> {
        require_kind(token, TokenKind::Node)?;
        let mut inner = self.inner();
        let before = inner.document.credentials.clone();
        let is_this = |known: &Token| known.expose() == token.expose();
        if !inner.dirty && [&before.node, &before.next].into_iter().flatten().any(is_this) {
            return Ok(());
        }
        // Cloudly has just answered to the current token, so that one must be kept; it may be an earlier `next` whose
        // acceptance has not been reported yet.
        let current = inner.current_token().cloned();
        let credentials = &mut inner.document.credentials;
        credentials.change(current, Some(token.clone()));
        inner.write_or_restore(before)?;
        inner.refused.remove(token.id());
        Ok(())
    }

    fn token_accepted(&self, id: &TokenId) -> Result<(), VaultError> {
        let mut inner = self.inner();
        inner.refused.remove(id);
        if inner.document.credentials.accept(id) {
            inner.dirty = true;
        }
        inner.set_endpoint_in_use();
        inner.save().map_err(vault_error)?;
        inner.forget_newer();
        Ok(())
    }

    fn token_refused(&self, id: &TokenId) {
        let mut inner = self.inner();
        inner.refused.insert(id.clone());
        if inner.current_token().is_none() {
            // A refusal can be an error of Cloudly (a database restored from a backup). An agent without a token could
            // never recover from it, so the tokens are tried in turn again; the machine does the back-off.
            inner.refused.clear();
            if inner.document.credentials.node_tokens().nth(1).is_some() {
                inner.refused.insert(id.clone());
            }
        }
    }

    fn join_token(&self, id: &TokenId) -> Option<Token> {
        let inner = self.inner();
        let stored = inner.document.credentials.join.iter();
        stored
            .chain(&inner.unsaved_join_tokens)
            .find(|token| token.id() == id)
            .cloned()
    }

    fn offer_join_token(&self, token: &Token) -> Result<(), VaultError> {
        require_kind(token, TokenKind::Join)?;
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
        // A registration with the replaced token may be under way and need a retry.
        if let Some(replaced) = replaced {
            inner.keep_join_token(replaced);
        }
        Ok(())
    }

    fn forget_join_token(&self, id: &TokenId) -> Result<(), VaultError> {
        let mut inner = self.inner();
        inner.unsaved_join_tokens.retain(|token| token.id() != id);
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
    fn current_token(&self) -> Option<&Token> {
        let mut tokens = self.document.credentials.node_tokens();
        tokens.find(|token| !self.refused.contains(token.id()))
    }

    /// Writes changed credentials. On failure they are restored in memory, because a token that is not stored must not
    /// be used.
    fn write_or_restore(&mut self, before: Credentials) -> Result<(), VaultError> {
        self.write_credentials().map_err(|error| {
            self.document.credentials = before;
            vault_error(error)
        })
    }
}

fn require_kind(token: &Token, kind: TokenKind) -> Result<(), VaultError> {
    // A token of another kind could not be read back, and the agent could not start any more.
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

#[expect(clippy::needless_pass_by_value, reason = "the signature for `map_err`")]
fn vault_error(error: SaveError) -> VaultError {
    VaultError(error.to_string())
}
