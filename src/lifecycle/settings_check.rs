//! The configuration as the lifecycle knows it: a pure function that is given to it, because the lifecycle uses nothing
//! of the agent but itself.

use std::collections::BTreeMap;

/// What is wrong with the environment that a release gives the agent's service of this name, a line each.
pub type SettingsCheck = fn(environment: &BTreeMap<String, String>, service: &str) -> Vec<String>;

/// Takes every environment.
pub(crate) fn takes_all(_: &BTreeMap<String, String>, _: &str) -> Vec<String> {
    Vec::new()
}
