//! What is wrong with the configuration, without ever repeating a secret.

use super::keys::{Key, Spec};
use super::layer::Source;
use std::fmt;

/// Longest value that is repeated whole, characters.
const SHOWN_MAX: usize = 120;
/// How every token of ours begins.
const TOKENS: [&str; 4] = ["szj_", "szn_", "szl_", "sza_"];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, named as in the layer the value came from; or the file, when it is wrong as a whole.
    pub key: String,
    /// The value, masked if it is or may be a secret; none when there is none to show.
    pub value: Option<String>,
    /// What would be right.
    pub right: String,
}

impl ConfigError {
    pub(super) fn new(key: Key, source: &Source, value: &str, right: String) -> Self {
        let spec = key.spec();
        let key = match source {
            Source::File(path) => format!("{} in {}", spec.file.unwrap_or(spec.env), path.display()),
            Source::CommandLine => spec.flag.unwrap_or(spec.env).to_owned(),
            Source::Default | Source::Environment => spec.env.to_owned(),
        };
        Self {
            key,
            value: Some(shown(spec, value)),
            right,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = `{value}`: {}", self.key, self.right),
            None => write!(f, "{}: {}", self.key, self.right),
        }
    }
}

/// Everything that is wrong, at once.
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

/// A value for people. A secret is `***`, and so is whatever looks like one: people paste tokens into the wrong
/// line, and passwords into addresses.
pub(super) fn shown(spec: &Spec, value: &str) -> String {
    let address_with_more = value.contains("://") && value.contains(['@', '?']);
    if spec.secret || address_with_more || TOKENS.iter().any(|token| value.contains(token)) {
        return "***".to_owned();
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
