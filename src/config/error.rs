//! Configuration errors. None of them shows a secret.

use super::keys::{Key, Spec};
use super::source::Source;
use baseos_interfaces::redact::MASK;
use baseos_interfaces::token::TokenKind;
use std::fmt;

/// Longest part of a value that is shown, characters.
const SHOWN_MAX: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, named as in the layer the value came from; or the file, when the error concerns all of it.
    pub key: String,
    /// The value, masked if it is or may be a secret; `None` when the error concerns no single value.
    pub value: Option<String>,
    /// What is expected instead.
    pub expected: String,
}

impl ConfigError {
    pub(super) fn new(key: Key, source: &Source, value: &str, expected: String) -> Self {
        let spec = key.spec();
        let key = match source {
            Source::File(path) => format!("{} in {}", spec.file.unwrap_or(spec.env), path.display()),
            Source::CommandLine => spec.flag.unwrap_or(spec.env).to_owned(),
            Source::Default | Source::Environment => spec.env.to_owned(),
        };
        Self {
            key,
            value: Some(masked(spec, value)),
            expected,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = `{value}`: {}", self.key, self.expected),
            None => write!(f, "{}: {}", self.key, self.expected),
        }
    }
}

/// All errors of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not usable:")?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A value as it may be shown. A secret becomes [`MASK`], and so does a value that may contain one by mistake: a token
/// in another key, an address with a user, password or query.
pub(super) fn masked(spec: &Spec, value: &str) -> String {
    let address_with_credentials = value.contains("://") && value.contains(['@', '?']);
    let has_token = TokenKind::ALL.iter().any(|kind| value.contains(kind.prefix()));
    if spec.secret || address_with_credentials || has_token {
        return MASK.to_owned();
    }
    if value.contains("-----BEGIN") {
        return format!("(PEM, {} bytes)", value.len());
    }
    let mut text: String = value
        .chars()
        .take(SHOWN_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        text.push('…');
    }
    text
}
