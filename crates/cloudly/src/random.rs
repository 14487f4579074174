//! Random bytes from the operating system, and the ids and tokens made of them.

use baseos_interfaces::Timestamp;
use baseos_interfaces::token::{Token, TokenKind};

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Fills `bytes` from the operating system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(NoRandomness)
}

/// A new token.
///
/// # Errors
/// When there is no randomness: no token is better than a guessable one.
pub fn mint(kind: TokenKind) -> Result<Token, NoRandomness> {
    let mut failed = None;
    let token = Token::mint(kind, |bytes| {
        if let Err(error) = fill(bytes) {
            failed = Some(error);
            // Any bytes end the loop inside; the token is thrown away below.
            bytes.fill(0);
        }
    });
    failed.map_or(Ok(token), Err)
}

/// `<prefix><time><random>`, Crockford's base 32: ids sort by age, so lists page in order of arrival.
pub(crate) fn id(prefix: &str, now: Timestamp) -> Result<String, NoRandomness> {
    let mut random = [0u8; 8];
    fill(&mut random)?;
    let mut text = String::with_capacity(prefix.len() + 16);
    text.push_str(prefix);
    digits(&mut text, u64::try_from(now.as_millisecond()).unwrap_or(0), 10);
    digits(&mut text, u64::from_le_bytes(random), 6);
    Ok(text)
}

fn digits(text: &mut String, value: u64, count: u32) {
    for place in (0..count).rev() {
        text.push(char::from(CROCKFORD[(value >> (5 * place) & 31) as usize]));
    }
}
