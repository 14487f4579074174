//! Operators, who are known by the one admin token.

use super::key_file::{self, AdminFile, KeyError};
use super::pepper::Pepper;
use super::tokens;
use baseos_interfaces::token::{Token, TokenKind};
use std::path::Path;

/// Who makes an admin request, by the public id of the admin token.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) id: String,
}

/// The admin token that requests are compared with.
pub(crate) struct AdminToken {
    id: String,
    mac: String,
}

impl AdminToken {
    pub(crate) fn new(token: &Token, pepper: &Pepper) -> Self {
        Self {
            id: token.id().to_string(),
            mac: pepper.mac(token),
        }
    }

    /// The operator whose token this is.
    pub(crate) fn verify(&self, token: &Token, pepper: &Pepper) -> Option<Operator> {
        let mac = (token.id().as_str() == self.id).then_some(self.mac.as_str());
        pepper
            .verify(token, mac)
            .then(|| Operator { id: self.id.clone() })
    }
}

/// Reads the server's admin token; creates it when the file does not exist.
pub(crate) fn load_admin_token(path: &Path, file: AdminFile) -> Result<Token, KeyError> {
    if let Some(text) = key_file::read(path)? {
        return parse_admin(path, file, &text);
    }
    let token = tokens::mint(TokenKind::Admin)?;
    key_file::create(path, token.expose())?;
    Ok(token)
}

/// Reads an existing admin token, as the command line does.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_admin_token(path: &Path) -> Result<Token, KeyError> {
    match key_file::read(path)? {
        Some(text) => parse_admin(path, AdminFile::Given, &text),
        // The whole path says which directory was meant.
        None => Err(KeyError::NoAdmin(
            std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        )),
    }
}

fn parse_admin(path: &Path, file: AdminFile, text: &str) -> Result<Token, KeyError> {
    Token::parse(TokenKind::Admin, text).map_err(|error| KeyError::Admin {
        path: path.to_owned(),
        error,
        file,
    })
}
