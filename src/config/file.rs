//! The file layer.

use super::error::ConfigError;
use super::keys::{SPECS, nearest};
use super::layer::{Layer, Source};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use toml::{Table, Value};

/// Reads the file. A missing one is an empty layer, unless somebody asked for it by name.
pub(super) fn read(path: &Path, asked_for: bool, errors: &mut Vec<ConfigError>) -> Layer {
    let nothing = Layer::new(Source::File(path.to_owned()));
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, errors),
        Err(error)
            if !asked_for && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            nothing
        }
        Err(error) => {
            errors.push(whole(
                path,
                format!("the configuration file cannot be read: {error}"),
            ));
            nothing
        }
    }
}

fn parse(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Layer {
    let mut layer = Layer::new(Source::File(path.to_owned()));
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            // Its Display shows the line, and that may hold the join token.
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1);
            errors.push(whole(
                path,
                format!("line {line} is not TOML: {}", error.message()),
            ));
            return layer;
        }
    };
    for (name, value) in &table {
        let Some(spec) = SPECS.iter().find(|spec| spec.file == Some(name.as_str())) else {
            let right = match nearest(name, SPECS.iter().filter_map(|spec| spec.file)) {
                Some(near) => format!("this key is not known; is `{near}` meant?"),
                None => "this key is not known; `baserunner config` lists those that are".to_owned(),
            };
            errors.push(ConfigError {
                key: format!("{name} in {}", path.display()),
                value: None,
                right,
            });
            continue;
        };
        match text_of(value) {
            Ok(text) => layer.set(spec.key, Some(text)),
            Err(right) => {
                errors.push(ConfigError {
                    key: format!("{name} in {}", path.display()),
                    value: None,
                    right,
                });
            }
        }
    }
    layer
}

fn whole(path: &Path, right: String) -> ConfigError {
    ConfigError {
        key: path.display().to_string(),
        value: None,
        right,
    }
}

/// The value as one would write it into the environment: lists by commas, tables as `key=value`. Or what would be
/// right.
fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Array(values) => {
            let items: Result<Vec<&str>, String> = values.iter().map(item_of).collect();
            items.map(|items| items.join(","))
        }
        Value::Table(table) => {
            let pair = |(key, value): (&String, &Value)| Ok(format!("{key}={}", item_of(value)?));
            let pairs: Result<Vec<String>, String> = table.iter().map(pair).collect();
            pairs.map(|pairs| pairs.join(","))
        }
        Value::Float(_) | Value::Datetime(_) => Err(format!(
            "a {} does not belong here; write a text, a number or true/false",
            value.type_str()
        )),
    }
}

/// A member of a list or table. Commas part them in the environment, so one inside would be read as two.
fn item_of(value: &Value) -> Result<&str, String> {
    let text = value.as_str().filter(|text| !text.contains(','));
    text.ok_or_else(|| "its members should be texts without commas".to_owned())
}
