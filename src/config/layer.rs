//! The values of one source, as text.

use super::keys::{Key, SPECS};
use super::source::Source;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// The unparsed values of one source. It may hold secrets; its `Debug` shows none.
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

    /// The layer of built-in defaults.
    pub fn defaults() -> Self {
        let mut layer = Self::new(Source::Default);
        for spec in &SPECS {
            layer.set(spec.key, spec.default);
        }
        layer
    }

    /// Sets a value, trimmed. An empty one counts as unset: a compose file passes an unset variable on as "".
    pub fn set(&mut self, key: Key, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            let value = value.as_ref().trim();
            if !value.is_empty() {
                self.values.insert(key, value.to_owned().into());
            }
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.values.get(&key).map(ExposeSecret::expose_secret)
    }

    pub(super) fn into_parts(self) -> (Source, BTreeMap<Key, SecretString>) {
        (self.source, self.values)
    }
}
