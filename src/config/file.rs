//! The file layer.

use super::error::ConfigError;
use super::keys::SPECS;
use super::layer::Layer;
use super::source::Source;
use baseos_interfaces::suggest::closest;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use toml::{Table, Value};

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    /// It cannot be used.
    pub(super) errors: Vec<ConfigError>,
    /// A key of it counts as not set.
    pub(super) problems: Vec<ConfigError>,
}

/// Reads the file. A missing one is an empty layer, unless its path was set explicitly.
pub(super) fn read(path: &Path, explicit: bool, wrong: &mut Wrong) -> Layer {
    let empty = Layer::new(Source::File(path.to_owned()));
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, wrong),
        Err(error) if !explicit && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            empty
        }
        Err(error) => {
            wrong.errors.push(file_error(
                path,
                format!("the configuration file cannot be read: {error}"),
            ));
            empty
        }
    }
}

fn parse(path: &Path, text: &str, wrong: &mut Wrong) -> Layer {
    let mut layer = Layer::new(Source::File(path.to_owned()));
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            // The error's Display would show the line, which may contain the join token.
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1);
            wrong.errors.push(file_error(
                path,
                format!("line {line} is not TOML: {}", error.message()),
            ));
            return layer;
        }
    };
    for (name, value) in &table {
        let Some(spec) = SPECS.iter().find(|spec| spec.file == Some(name.as_str())) else {
            let expected = match closest(name, SPECS.iter().filter_map(|spec| spec.file)) {
                Some(known) => format!("this key is not known; is `{known}` meant?"),
                None => "this key is not known; `baserunner config` lists those that are".to_owned(),
            };
            wrong.problems.push(key_error(path, name, expected));
            continue;
        };
        match as_text(value) {
            Ok(text) => layer.set(spec.key, Some(text)),
            Err(expected) => wrong.problems.push(key_error(path, name, expected)),
        }
    }
    layer
}

fn key_error(path: &Path, name: &str, expected: String) -> ConfigError {
    ConfigError {
        key: format!("{name} in {}", path.display()),
        value: None,
        expected,
    }
}

fn file_error(path: &Path, expected: String) -> ConfigError {
    ConfigError {
        key: path.display().to_string(),
        value: None,
        expected,
    }
}

/// The value in the form of the environment: lists joined by commas, tables as `key=value` pairs. The error is what
/// is expected instead.
fn as_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(boolean) => Ok(boolean.to_string()),
        Value::Array(values) => {
            let items: Result<Vec<&str>, String> = values.iter().map(item_text).collect();
            items.map(|items| items.join(","))
        }
        Value::Table(table) => {
            let pair = |(key, value): (&String, &Value)| Ok(format!("{key}={}", item_text(value)?));
            let pairs: Result<Vec<String>, String> = table.iter().map(pair).collect();
            pairs.map(|pairs| pairs.join(","))
        }
        Value::Float(_) | Value::Datetime(_) => Err(format!(
            "a {} does not belong here; write a string, a number or true/false",
            value.type_str()
        )),
    }
}

/// An element of a list or table. It must have no comma, which separates elements in the environment form.
fn item_text(value: &Value) -> Result<&str, String> {
    let text = value.as_str().filter(|text| !text.contains(','));
    text.ok_or_else(|| "its elements should be strings without commas".to_owned())
}
