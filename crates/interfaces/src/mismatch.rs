//! What serde says of a JSON value that a type does not take, in words of JSON: without names of Rust's types, and
//! without the value itself, which may be a secret.

use crate::codes::FieldCode;
use std::fmt;

/// Why a type does not take a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// This member is missing.
    Missing(&'a str),
    /// A member that the type does not have; these are all that it has.
    UnknownMember(Vec<&'a str>),
    /// A value of another kind, or out of range.
    Value {
        /// What was given, as serde writes it.
        given: &'a str,
        /// What is expected, in words of JSON.
        expected: String,
    },
    /// Anything else that a type says of its value, e.g. of a time.
    Other(&'a str),
}

impl<'a> Mismatch<'a> {
    /// Takes serde's message apart, which has neither line nor column.
    #[must_use]
    pub fn of(message: &'a str) -> Self {
        let quoted = |text: &'a str| -> Vec<&'a str> { text.split('`').skip(1).step_by(2).collect() };
        if let Some(member) = message.strip_prefix("missing field `") {
            return Self::Missing(member.trim_end_matches('`'));
        }
        if message.starts_with("unknown field ") && message.ends_with(", there are no fields") {
            return Self::UnknownMember(Vec::new());
        }
        // The last one is serde's: what was given may hold another.
        let Some((given, expected)) = message.rsplit_once(", expected ") else {
            return Self::Other(message);
        };
        if given.starts_with("unknown field ") {
            return Self::UnknownMember(quoted(expected));
        }
        if let Some(given) = given.strip_prefix("unknown variant ") {
            let expected = format!("one of {}", quoted(expected).join(", "));
            return Self::Value { given, expected };
        }
        let given = ["invalid type: ", "invalid value: ", "invalid length "]
            .iter()
            .find_map(|kind| given.strip_prefix(kind));
        match given {
            Some(given) => Self::Value {
                given,
                expected: expected_in_words(expected),
            },
            None => Self::Other(message),
        }
    }

    /// The code of the problem's member.
    #[must_use]
    pub const fn code(&self) -> FieldCode {
        match self {
            Self::Missing(_) => FieldCode::Missing,
            Self::UnknownMember(_) => FieldCode::UnknownMember,
            Self::Value { .. } | Self::Other(_) => FieldCode::InvalidValue,
        }
    }

    /// As `Display`, with the value that was given: for whoever wrote it.
    #[must_use]
    pub fn with_value(&self) -> String {
        match self {
            Self::Value { given, expected } => format!("expected {expected}, not {}", value_in_words(given)),
            Self::Other(message) => (*message).to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(member) => write!(f, "`{member}` is missing"),
            Self::UnknownMember(known) if known.is_empty() => write!(f, "not known; there are no members"),
            Self::UnknownMember(known) => {
                write!(f, "not known; use {}", known.join(", "))
            }
            Self::Value { given, expected } => write!(f, "expected {expected}, not {}", kind(given)),
            Self::Other(_) => write!(f, "a value it cannot have"),
        }
    }
}

fn expected_in_words(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        text if text.starts_with("struct ") => "an object".to_owned(),
        text if text.contains("enum ") => "one of its names".to_owned(),
        text => text.to_owned(),
    }
}

/// The kind of value that serde writes so.
fn kind(given: &str) -> &'static str {
    match given.split([' ', '`']).next() {
        Some("string" | "character" | "") => "a string",
        Some("integer" | "floating" | "number") => "a number",
        Some("boolean") => "a boolean",
        Some("null" | "unit" | "Option") => "null",
        Some("map") => "an object",
        // A length is told of a list alone.
        Some(text) if text == "sequence" || text.bytes().all(|byte| byte.is_ascii_digit()) => "a list",
        _ => "what was given",
    }
}

fn value_in_words(given: &str) -> String {
    match given.split_once(' ') {
        Some(("integer", number)) => format!("the number {number}"),
        Some(("floating", _)) => given.replacen("floating point", "the number", 1),
        Some(("boolean", value)) => value.to_owned(),
        Some(("string", _)) => format!("the {given}"),
        _ if given.starts_with('`') => given.to_owned(),
        _ => kind(given).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    #[test]
    fn what_is_expected_is_told_in_words_of_json() {
        for (expected, words) in [
            ("u8", "a whole number from 0 to 255"),
            ("struct Settings", "an object"),
            ("struct Settings with 2 elements", "an object"),
            ("internally tagged enum Action", "one of its names"),
            ("a string", "a string"),
            ("a number below 2^53", "a number below 2^53"),
        ] {
            assert_eq!(expected_in_words(expected), words, "{expected}");
        }
    }

    #[test]
    fn what_was_given_is_told_by_its_kind() {
        for (given, words) in [
            ("string \"x\"", "a string"),
            ("integer `5`", "a number"),
            ("sequence", "a list"),
            ("3", "a list"),
            ("newtype struct", "what was given"),
            ("Option value", "null"),
        ] {
            assert_eq!(kind(given), words, "{given}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read into")]
    struct Settings {
        #[serde(default)]
        some_number: u32,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        texts: BTreeMap<String, String>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        at: Option<crate::Timestamp>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Mode {
        #[default]
        Fast,
        VerySlow,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Empty {}

    fn said<T: DeserializeOwned + fmt::Debug>(value: Value) -> [String; 3] {
        let message = serde_json::from_value::<T>(value).unwrap_err().to_string();
        let mismatch = Mismatch::of(&message);
        [
            mismatch.code().to_string(),
            mismatch.to_string(),
            mismatch.with_value(),
        ]
    }

    #[test]
    fn a_value_of_another_kind_is_told_in_words_of_json_without_and_with_it() {
        let whole = "expected a whole number from 0 to 4294967295";
        for (value, without, with) in [
            (
                json!({ "someNumber": "3" }),
                format!("{whole}, not a string"),
                format!("{whole}, not the string \"3\""),
            ),
            (
                json!({ "someNumber": -1 }),
                format!("{whole}, not a number"),
                format!("{whole}, not the number `-1`"),
            ),
            (
                json!({ "someNumber": 1.5 }),
                format!("{whole}, not a number"),
                format!("{whole}, not the number `1.5`"),
            ),
            (
                json!({ "someNumber": null }),
                format!("{whole}, not null"),
                format!("{whole}, not null"),
            ),
            (
                json!({ "someNumber": [] }),
                format!("{whole}, not a list"),
                format!("{whole}, not a list"),
            ),
            (
                json!({ "on": 1 }),
                "expected true or false, not a number".into(),
                "expected true or false, not the number `1`".into(),
            ),
            (
                json!({ "names": {} }),
                "expected a list, not an object".into(),
                "expected a list, not an object".into(),
            ),
            (
                json!({ "names": true }),
                "expected a list, not a boolean".into(),
                "expected a list, not `true`".into(),
            ),
            (
                json!({ "texts": "x" }),
                "expected an object, not a string".into(),
                "expected an object, not the string \"x\"".into(),
            ),
            (
                json!({ "mode": "slow" }),
                "expected one of fast, verySlow, not a string".into(),
                "expected one of fast, verySlow, not `slow`".into(),
            ),
            (
                json!(7),
                "expected an object, not a number".into(),
                "expected an object, not the number `7`".into(),
            ),
        ] {
            let [code, short, long] = said::<Settings>(value.clone());
            assert_eq!(
                (code.as_str(), short, long),
                ("invalidValue", without, with),
                "{value}"
            );
        }
    }

    #[test]
    fn members_that_are_missing_or_not_known_are_named_by_what_there_is() {
        #[derive(Debug, Deserialize)]
        struct Needs {
            #[serde(rename = "theName")]
            _name: String,
        }
        assert_eq!(said::<Needs>(json!({}))[..2], ["missing", "`theName` is missing"]);
        let [code, said_of_it, _] = said::<Settings>(json!({ "szj_secret, expected `x`": 1 }));
        assert_eq!(code, "unknownMember");
        let known = "not known; use someNumber, names, texts, on, at, mode";
        assert_eq!(said_of_it, known);
        let [_, said_of_it, _] = said::<Empty>(json!({ "szj_secret, expected `x`": 1 }));
        assert_eq!(said_of_it, "not known; there are no members");
    }

    #[test]
    fn nothing_of_a_value_is_repeated_whatever_it_holds() {
        for text in [
            "szj_secret",
            "x, expected szj_secret",
            "`szj_secret`",
            "invalid type: szj_secret, expected szj_secret",
        ] {
            for member in ["someNumber", "at", "mode", "names", "texts", "on"] {
                let [_, short, _] = said::<Settings>(json!({ member: text }));
                assert!(!short.contains("szj_secret"), "{member}: {short}");
            }
        }
    }
}
