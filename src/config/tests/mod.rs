mod errors;
mod layers;
mod properties;
mod proxy;
mod soft;

use super::*;
use crate::vault::test::token;
use baseos_interfaces::token::TokenKind;
use std::fs;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// Loads a configuration whose file has the content `file`.
fn load_all(file: &str, env: &[(&str, &str)], overrides: &Overrides) -> Result<Settings, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, file).unwrap();
    let path = path.to_string_lossy().into_owned();
    let env = env.iter().copied().chain([("BASEOS_CONFIG", path.as_str())]);
    load(&env.collect(), overrides)
}

fn load_env(env: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    load_all("", env, &Overrides::default())
}

fn load_file(file: &str) -> Result<Settings, ConfigErrors> {
    load_all(file, &[], &Overrides::default())
}

/// The one error of an environment with this one variable.
fn error_of(name: &str, value: &str) -> String {
    let errors = match load_env(&[(name, value)]) {
        Ok(settings) => settings.problems,
        Err(errors) => errors.0,
    };
    let [error] = &errors[..] else {
        panic!("{errors:?}")
    };
    assert_eq!(error.key, name, "{errors:?}");
    error.to_string()
}

/// The value and source that `baserunner config` shows for a key.
fn effective(settings: &Settings, key: &str) -> (Option<String>, Option<String>) {
    let found = settings
        .effective()
        .iter()
        .find(|effective| effective.key == key)
        .unwrap();
    (
        found.value.clone(),
        found.source.as_ref().map(ToString::to_string),
    )
}
