//! Test doubles for the vault.

use super::{Vault, VaultError};
use baseos_interfaces::token::{Token, TokenId, TokenKind};

/// A vault that stores nothing and accepts everything.
pub(crate) struct EmptyVault;

impl Vault for EmptyVault {
    fn node_token(&self) -> Option<Token> {
        None
    }
    fn node_id(&self) -> Option<String> {
        None
    }
    fn store_node_token(&self, _: &Token, _: &str) -> Result<(), VaultError> {
        Ok(())
    }
    fn store_next_token(&self, _: &Token) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_accepted(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
    fn token_refused(&self, _: &TokenId) {}
    fn join_token(&self, _: &TokenId) -> Option<Token> {
        None
    }
    fn offer_join_token(&self, _: &Token) -> Result<(), VaultError> {
        Ok(())
    }
    fn forget_join_token(&self, _: &TokenId) -> Result<(), VaultError> {
        Ok(())
    }
}

/// A well-formed token; different for each seed.
pub(crate) fn token(kind: TokenKind, seed: u8) -> Token {
    let mut next = seed;
    Token::mint(kind, |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(181).wrapping_add(91);
            *byte = next;
        }
    })
}
