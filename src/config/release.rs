//! The settings that a release would give its agent, looked at before it is applied.

use super::env::Environment;
use super::keys::Key;
use super::layer::Layer;
use super::validate;
use super::values::Values;
use baseos_interfaces::rules::agent_name_problem;
use std::collections::BTreeMap;

/// What is wrong with the environment that a release gives the agent's service, a line each. What an agent that runs
/// takes softly is named too: here somebody still reads it.
///
/// Pure: the configuration file and a certificate that is given as a path are the new container's, and not looked at.
pub fn check_environment(environment: &BTreeMap<String, String>, service: &str) -> Vec<String> {
    let in_a_file = |name: &str, value: &str| {
        name == Key::CloudlyCa.spec().env && !value.trim_start().starts_with("-----BEGIN")
    };
    let given: Environment = environment
        .iter()
        .filter(|(name, value)| !in_a_file(name, value))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let values = Values::merge([Layer::defaults(), given.layer()]);
    let mut problems: Vec<String> = match validate::settings(values, Vec::new()) {
        Ok(settings) => settings.problems.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    };
    problems.extend(agent_name_problem(environment, service));
    problems
}
