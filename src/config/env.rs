//! The environment, read once.

use super::keys::{Key, SPECS, nearest};
use super::layer::{Layer, Source};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// Read by main for builds that can be killed at a named place.
pub const FAILPOINT: &str = "BASEOS_FAILPOINT";
/// Variables of these families are taken; nothing else of the environment stays in memory.
const FAMILIES: [&str; 3] = ["BASEOS_", "BALENA_", "SERVEZONE_"];

/// The part of the environment that is about us. It may hold secrets, and prints none.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, SecretString>);

impl Environment {
    /// Reads the process's environment. The only place that does.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect()
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    /// The layer it is.
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::new(Source::Environment);
        for spec in &SPECS {
            layer.set(spec.key, self.get(spec.env));
        }
        layer
    }

    /// Variables that look as if they were for us and are not known. Not errors: the environment is shared.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known = || {
            SPECS
                .iter()
                .map(|spec| spec.env)
                .filter(|name| name.starts_with("BASEOS_"))
        };
        self.0
            .keys()
            .filter(|name| {
                name.starts_with("BASEOS_") && *name != FAILPOINT && !known().any(|known| known == *name)
            })
            .map(|name| match nearest(name, known()) {
                Some(near) => format!("{name} is not known; is {near} meant?"),
                None => format!("{name} is not known and is ignored"),
            })
            .chain(self.half_a_supervisor())
            .collect()
    }

    fn half_a_supervisor(&self) -> Option<String> {
        let is_set = |key: Key| {
            self.get(key.spec().env)
                .is_some_and(|value| !value.trim().is_empty())
        };
        let (address, key) = (Key::SupervisorAddress, Key::SupervisorApiKey);
        let (set, missing) = match (is_set(address), is_set(key)) {
            (true, false) => (address, key),
            (false, true) => (key, address),
            _ => return None,
        };
        Some(format!(
            "{} is set and {} is not: no Supervisor is used; give the service the label io.balena.features.supervisor-api",
            set.spec().env,
            missing.spec().env
        ))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .filter(|(name, _)| FAMILIES.iter().any(|family| name.starts_with(family)))
                .map(|(name, value)| (name, value.into()))
                .collect(),
        )
    }
}
