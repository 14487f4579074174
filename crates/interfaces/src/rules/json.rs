//! Free-form JSON: compose keys, definitions of volumes and networks.

use super::violation::{Found, short_pointer, shown};
use crate::codes::FieldCode;
use serde_json::Value;

/// How deep free-form JSON may be nested below its member: it comes back inside other documents, and every parser on
/// the way has a limit (this one's is 128).
pub const DEPTH_MAX: usize = 32;

/// Whether a value has at most `depth` arrays and objects within each other.
pub fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_shallow(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| is_shallow(member, depth - 1)),
        _ => true,
    }
}

/// A member's value: not nested too deep, no U+0000 in it, no control character in its keys.
pub(super) fn check(path: &[&str], value: &Value, found: &mut Found) {
    if !is_shallow(value, DEPTH_MAX) {
        let message = format!(
            "{} is nested more than {DEPTH_MAX} deep",
            shown(&short_pointer(path))
        );
        found.add(path, FieldCode::TooDeep, message);
        return;
    }
    characters(path, value, found);
}

fn characters(path: &[&str], value: &Value, found: &mut Found) {
    match value {
        Value::String(text) => no_nul(path, text, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                characters(&[path, &[&index.to_string()]].concat(), item, found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let path = [path, &[key]].concat();
                if key.chars().any(char::is_control) {
                    let message = "a key holds a control character: use printable characters";
                    found.add(&path, FieldCode::ControlCharacter, message);
                }
                characters(&path, member, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Text for a process or a database, neither of which takes U+0000. Line breaks and tabs belong into some values.
pub(super) fn no_nul(path: &[&str], text: &str, found: &mut Found) {
    if text.contains('\0') {
        let message = format!(
            "{} holds the character U+0000, which no process and no database takes: leave it out",
            shown(&short_pointer(path))
        );
        found.add(path, FieldCode::ControlCharacter, message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;
    use serde_json::json;

    #[test]
    fn json_nested_32_deep_is_taken_and_deeper_is_not() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(found_by(|found| check(&["x"], &nested(32), found)), [""; 0]);
        assert_eq!(
            found_by(|found| check(&["x"], &nested(33), found)),
            ["/x tooDeep"]
        );
    }

    #[test]
    fn every_u0000_and_every_control_character_in_a_key_is_named() {
        let value = json!({ "a": ["fine\nline", "bad\0"], "b\t": { "c/d": "\0" } });
        let expected =
            ["/x/a/1", "/x/b\t", "/x/b\t/c~1d"].map(|pointer| format!("{pointer} controlCharacter"));
        assert_eq!(found_by(|found| check(&["x"], &value, found)), expected);
    }
}
