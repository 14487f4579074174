//! The pepper: the key of all token hashes.

use super::key_file::{self, KeyError};
use crate::random;
use baseos_interfaces::token::{Token, WireSecret};
use hmac::{Hmac, KeyInit as _, Mac as _};
use prometheus_client::metrics::counter::Counter;
use sha2::Sha256;
use std::path::Path;
use subtle::ConstantTimeEq as _;

/// Whoever reads only the database can neither use nor verify a token.
#[derive(Clone)]
pub(crate) struct Pepper {
    /// What has taken in the key already.
    keyed: Hmac<Sha256>,
    hashes: Counter,
}

impl Pepper {
    /// Reads the pepper. Creates it when the file does not exist and `may_create`: no database needs an older one.
    /// `hashes` counts what is hashed.
    pub(crate) fn load(path: &Path, may_create: bool, hashes: Counter) -> Result<Self, KeyError> {
        let text = match key_file::read(path)? {
            Some(text) => text,
            None if may_create => {
                let mut key = [0u8; 32];
                random::fill(&mut key)?;
                let text = text(hex(&key));
                key_file::create(path, &text)?;
                text
            }
            None => return Err(KeyError::Lost(path.to_owned())),
        };
        Self::parse(&text, hashes).ok_or_else(|| KeyError::Pepper(path.to_owned()))
    }

    /// Of the text of its file.
    fn parse(text: &str, hashes: Counter) -> Option<Self> {
        let key = unhex(text.trim());
        // HMAC takes a key of any length.
        let keyed = key.and_then(|key| Hmac::new_from_slice(&key).ok());
        keyed.map(|keyed| Self { keyed, hashes })
    }

    /// The hash that is stored of a token, hex.
    pub(crate) fn mac(&self, token: &Token) -> String {
        text(self.hash(token.expose().as_bytes()))
    }

    /// Stored in a database to recognise the pepper it was made with.
    pub(crate) fn fingerprint(&self) -> String {
        text(self.hash(b"cloudly pepper fingerprint"))
    }

    /// Compares a token with a stored hash in constant time. An unknown token (`None`) costs the same.
    pub(crate) fn verify(&self, token: &Token, stored: Option<&str>) -> bool {
        const NO_MAC: &[u8] = &[b'0'; 64];
        let mac = self.hash(token.expose().as_bytes());
        let equal = mac.ct_eq(stored.map_or(NO_MAC, str::as_bytes));
        bool::from(equal) && stored.is_some()
    }

    /// Hexadecimal digits.
    fn hash(&self, bytes: &[u8]) -> [u8; 64] {
        self.hashes.inc();
        let mut mac = self.keyed.clone();
        mac.update(bytes);
        hex(&mac.finalize().into_bytes().into())
    }
}

/// A pepper that is only copied: into a backup, and out of it.
pub(crate) struct PepperCopy(WireSecret);

impl PepperCopy {
    /// `None`: there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let text = key_file::read(path)?;
        text.map(|text| Self::parse(&text).ok_or_else(|| KeyError::Pepper(path.to_owned())))
            .transpose()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        unhex(text.trim()).map(|_| Self(WireSecret::new(text.trim())))
    }

    /// Writes it where there is none.
    pub(crate) fn write(&self, path: &Path) -> Result<(), KeyError> {
        key_file::create(path, self.0.expose())
    }

    pub(crate) fn wire(&self) -> &WireSecret {
        &self.0
    }

    pub(crate) fn fingerprint(&self) -> Option<String> {
        let pepper = Pepper::parse(self.0.expose(), Counter::default())?;
        Some(pepper.fingerprint())
    }
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

fn text(digits: [u8; 64]) -> String {
    digits.map(char::from).iter().collect()
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
