//! New tokens.

use crate::random::{NoRandomness, fill};
use baseos_interfaces::token::{Token, TokenKind};

/// A new token.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn mint(kind: TokenKind) -> Result<Token, NoRandomness> {
    let mut failed = None;
    let token = Token::mint(kind, |bytes| {
        if let Err(error) = fill(bytes) {
            failed = Some(error);
            // Any bytes end the loop in there; the token is dropped below.
            bytes.fill(0);
        }
    });
    failed.map_or(Ok(token), Err)
}
