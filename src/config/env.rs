//! The environment layer.

use super::keys::{Key, SPECS};
use super::layer::Layer;
use super::source::Source;
use baseos_interfaces::agent_variables::unknown_agent_variable;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// The variable that arms a failpoint, in builds that have them.
pub const FAILPOINT: &str = "BASEOS_FAILPOINT";
/// Only variables with these prefixes are kept in memory.
const PREFIXES: [&str; 3] = ["BASEOS_", "BALENA_", "SERVEZONE_"];

/// The agent's part of the environment. It may hold secrets; its `Debug` shows none.
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

    fn insert(&mut self, name: String, value: String) {
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            self.0.insert(name, value.into());
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::new(Source::Environment);
        for spec in &SPECS {
            layer.set(spec.key, self.get(spec.env));
        }
        layer
    }

    /// Unknown `BASEOS_` variables, and Supervisor variables of which one is missing. Not errors, because the
    /// environment is shared with other programs.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.0
            .keys()
            .filter(|name| *name != FAILPOINT)
            .filter_map(|name| unknown_agent_variable(name))
            .chain(self.incomplete_supervisor_access())
            .collect()
    }

    fn incomplete_supervisor_access(&self) -> Option<String> {
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
        let mut environment = Self::default();
        for (name, value) in pairs {
            environment.insert(name.into(), value.into());
        }
        environment
    }
}
