//! The two secrets beside the database: the pepper that tokens are hashed with, and the admin token.

use crate::random;
use baseos_interfaces::token::{Token, TokenError, TokenKind};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq as _;

/// Why a secret's file cannot be used. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("cannot use the file {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The pepper is not one.
    #[error("{} is not a token pepper (64 hex digits); restore it from the backup of this database", .0.display())]
    Pepper(PathBuf),
    /// The pepper is gone, and a new one would lock every node out.
    #[error("the token pepper {} is missing, and without it no token of this database is accepted: restore it from the backup", .0.display())]
    Lost(PathBuf),
    /// The admin token is not one.
    #[error("{} holds no admin token: {error}; remove the file to get a new one", path.display())]
    Admin {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its contents.
        error: TokenError,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] random::NoRandomness),
}

/// The key of all token hashes. Whoever reads only the database can neither use nor verify a token.
#[derive(Clone)]
pub(crate) struct Pepper([u8; 32]);

impl Pepper {
    /// Reads the pepper. Makes it when the file does not exist and `may_create`: no database needs an older one.
    pub(crate) fn load(path: &Path, may_create: bool) -> Result<Self, KeyError> {
        let text = match read(path)? {
            Some(text) => text,
            None if may_create => {
                let mut key = [0u8; 32];
                random::fill(&mut key)?;
                let text = hex(&key);
                create(path, &text)?;
                text
            }
            None => return Err(KeyError::Lost(path.to_owned())),
        };
        unhex(text.trim())
            .map(Self)
            .ok_or_else(|| KeyError::Pepper(path.to_owned()))
    }

    /// The hash a token is stored as, hex.
    pub(crate) fn mac(&self, token: &Token) -> String {
        self.hash(token.expose().as_bytes())
    }

    /// Tells whether a database was written with this pepper.
    pub(crate) fn fingerprint(&self) -> String {
        self.hash(b"cloudly pepper fingerprint")
    }

    /// Compares a token with a stored hash in constant time. An unknown token (`None`) costs the same.
    pub(crate) fn verify(&self, token: &Token, stored: Option<&str>) -> bool {
        const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let mac = self.mac(token);
        let equal = mac.as_bytes().ct_eq(stored.unwrap_or(NOBODY).as_bytes());
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

/// Reads the admin token; makes it when the file does not exist.
pub(crate) fn admin_token(path: &Path) -> Result<Token, KeyError> {
    if let Some(text) = read(path)? {
        return parse_admin(path, &text);
    }
    let token = random::mint(TokenKind::Admin)?;
    create(path, token.expose())?;
    Ok(token)
}

/// Reads an existing admin token, as the command line does.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_admin_token(path: &Path) -> Result<Token, KeyError> {
    match read(path)? {
        Some(text) => parse_admin(path, &text),
        None => Err(KeyError::Io {
            path: path.to_owned(),
            error: io::ErrorKind::NotFound.into(),
        }),
    }
}

fn parse_admin(path: &Path, text: &str) -> Result<Token, KeyError> {
    Token::parse(TokenKind::Admin, text).map_err(|error| KeyError::Admin {
        path: path.to_owned(),
        error,
    })
}

fn read(path: &Path) -> Result<Option<String>, KeyError> {
    let opened = OpenOptions::new().read(true).open(path);
    let mut text = String::new();
    match opened.and_then(|file| file.take(4096).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeyError::Io {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Writes a new secret whole or not at all: half a pepper after a crash would look like a lost one.
fn create(path: &Path, text: &str) -> Result<(), KeyError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&name).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&name, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    });
    written.map_err(|error| KeyError::Io {
        path: path.to_owned(),
        error,
    })
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
