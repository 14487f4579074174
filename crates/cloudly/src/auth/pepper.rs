//! The pepper: the key of all token hashes.

use super::key_file::{self, KeyError};
use crate::random;
use baseos_interfaces::token::Token;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::path::Path;
use subtle::ConstantTimeEq as _;

/// Whoever reads only the database can neither use nor verify a token.
#[derive(Clone)]
pub(crate) struct Pepper([u8; 32]);

impl Pepper {
    /// Reads the pepper. Creates it when the file does not exist and `may_create`: no database needs an older one.
    pub(crate) fn load(path: &Path, may_create: bool) -> Result<Self, KeyError> {
        let text = match key_file::read(path)? {
            Some(text) => text,
            None if may_create => {
                let mut key = [0u8; 32];
                random::fill(&mut key)?;
                let text = hex(&key);
                key_file::create(path, &text)?;
                text
            }
            None => return Err(KeyError::Lost(path.to_owned())),
        };
        unhex(text.trim())
            .map(Self)
            .ok_or_else(|| KeyError::Pepper(path.to_owned()))
    }

    /// The hash that is stored of a token, hex.
    pub(crate) fn mac(&self, token: &Token) -> String {
        self.hash(token.expose().as_bytes())
    }

    /// Stored in a database to recognise the pepper it was made with.
    pub(crate) fn fingerprint(&self) -> String {
        self.hash(b"cloudly pepper fingerprint")
    }

    /// Compares a token with a stored hash in constant time. An unknown token (`None`) costs the same.
    pub(crate) fn verify(&self, token: &Token, stored: Option<&str>) -> bool {
        const NO_MAC: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let mac = self.mac(token);
        let equal = mac.as_bytes().ct_eq(stored.unwrap_or(NO_MAC).as_bytes());
        bool::from(equal) && stored.is_some()
    }

    fn hash(&self, bytes: &[u8]) -> String {
        // HMAC takes a key of any length, so this cannot fail; an empty hash would match nothing stored.
        Hmac::<Sha256>::new_from_slice(&self.0)
            .map(|mut mac| {
                mac.update(bytes);
                hex(&mac.finalize().into_bytes())
            })
            .unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}
