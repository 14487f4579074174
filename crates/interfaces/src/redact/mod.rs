//! The one scanner for secrets: what it finds is masked before a text is logged, reported or shown, and makes a leak
//! test fail.
//!
//! It finds our tokens by their prefix, whole or cut off, wherever they stand; the value of an `apikey=` parameter,
//! as the Supervisor's key stands in URLs; and secrets it was told, as they are written plainly, by `{:?}` and in
//! JSON. A token's public id stays readable: `szn_4fG7hJ2kLm_***`.
//!
//! One pass over the text, linear in its length; a text without a secret is not copied. There is no variant for
//! streams: half a secret can be told from an ordinary word only by what follows, so whoever writes in pieces
//! collects a whole line or event first.

mod scanner;

pub use scanner::{Finding, FindingKind, Findings, Scanner};

use std::borrow::Cow;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Masks every secret in a text, `secrets` among them (empty ones are passed over). Who masks many texts with the same
/// secrets keeps a [`Scanner`] instead.
pub fn redact<'a>(text: &'a str, secrets: &[&str]) -> Cow<'a, str> {
    let mut scanner = Scanner::new();
    for secret in secrets {
        scanner.learn_any(secret);
    }
    scanner.redact(text)
}

#[cfg(test)]
mod tests;
