//! Where values come from, and what is left when all layers are laid over each other.

use super::error::ConfigError;
use super::keys::{Key, SPECS};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The layer a value comes from; a later one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// The file.
    File(PathBuf),
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// What one source says, as it was written: for each key a text or nothing. It may hold secrets, and prints none.
#[derive(Clone, Debug)]
pub struct Layer {
    source: Source,
    values: BTreeMap<Key, SecretString>,
}

impl Layer {
    /// An empty layer.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            values: BTreeMap::new(),
        }
    }

    /// The defaults.
    pub fn defaults() -> Self {
        let mut layer = Self::new(Source::Default);
        for spec in &SPECS {
            layer.set(spec.key, spec.default);
        }
        layer
    }

    /// Sets a value. An empty one is none: what a compose file passes on unset arrives as an empty text.
    pub fn set(&mut self, key: Key, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            let value = value.as_ref().trim();
            if !value.is_empty() {
                self.values.insert(key, value.to_owned().into());
            }
        }
    }

    /// What it says about a key.
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.values.get(&key).map(ExposeSecret::expose_secret)
    }
}

/// The layers merged: each key's last value and its source.
#[derive(Debug)]
pub(super) struct Values {
    values: BTreeMap<Key, (SecretString, Source)>,
    /// What is wrong with them, found so far.
    pub(super) errors: Vec<ConfigError>,
}

impl Values {
    /// Merges layers, weakest first.
    pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut values = BTreeMap::new();
        for layer in layers {
            for (key, value) in layer.values {
                values.insert(key, (value, layer.source.clone()));
            }
        }
        Self {
            values,
            errors: Vec::new(),
        }
    }

    /// A value as it was written, and its source.
    pub(super) fn raw(&self, key: Key) -> Option<(&str, &Source)> {
        self.values
            .get(&key)
            .map(|(value, source)| (value.expose_secret(), source))
    }

    /// A value as text.
    pub(super) fn text(&self, key: Key) -> Option<String> {
        self.raw(key).map(|(value, _)| value.to_owned())
    }

    /// Reads a value. `read` says what would be right when it cannot; that is noted, and the value counts as none.
    pub(super) fn read<T>(&mut self, key: Key, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (value, source) = self.values.get(&key)?;
        match read(value.expose_secret()) {
            Ok(value) => Some(value),
            Err(right) => {
                let error = ConfigError::new(key, source, value.expose_secret(), right);
                self.errors.push(error);
                None
            }
        }
    }
}
