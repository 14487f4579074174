//! The layers merged, and the parsing of single values with collected errors.

use super::error::ConfigError;
use super::keys::Key;
use super::layer::Layer;
use super::source::Source;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// Each key's value of the highest layer that has one, with its source.
#[derive(Debug)]
pub(super) struct Values {
    values: BTreeMap<Key, (SecretString, Source)>,
    /// The errors found so far.
    pub(super) errors: Vec<ConfigError>,
    /// Values that were not right and count as unset.
    pub(super) problems: Vec<ConfigError>,
}

impl Values {
    /// Merges layers, lowest precedence first.
    pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut values = BTreeMap::new();
        for layer in layers {
            let (source, entries) = layer.into_parts();
            for (key, value) in entries {
                values.insert(key, (value, source.clone()));
            }
        }
        Self {
            values,
            errors: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The unparsed value and its source.
    pub(super) fn raw(&self, key: Key) -> Option<(&str, &Source)> {
        self.values
            .get(&key)
            .map(|(value, source)| (value.expose_secret(), source))
    }

    pub(super) fn text(&self, key: Key) -> Option<String> {
        self.raw(key).map(|(value, _)| value.to_owned())
    }

    /// Parses a value of a key that the agent can do without. One that is not right counts as unset, so that an agent
    /// that nobody can reach starts with it all the same; on the command line, where somebody reads the answer, it is an
    /// error.
    pub(super) fn parse_soft<T>(&mut self, key: Key, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (value, source) = self.values.get(&key)?;
        let expected = match parse(value.expose_secret()) {
            Ok(value) => return Some(value),
            Err(expected) => expected,
        };
        let error = ConfigError::new(key, source, value.expose_secret(), expected);
        if *source == Source::CommandLine {
            self.errors.push(error);
            return None;
        }
        self.problems.push(error);
        self.values.remove(&key);
        let default = key.spec().default?;
        self.values
            .insert(key, (default.to_owned().into(), Source::Default));
        parse(default).ok()
    }

    /// Parses a value. An error of `parse`, which says what is expected instead, is collected, and the value counts
    /// as unset.
    pub(super) fn parse<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (value, source) = self.values.get(&key)?;
        match parse(value.expose_secret()) {
            Ok(value) => Some(value),
            Err(expected) => {
                let error = ConfigError::new(key, source, value.expose_secret(), expected);
                self.errors.push(error);
                None
            }
        }
    }
}
