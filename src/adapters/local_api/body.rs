//! Reads request bodies. An error names all wrong members by pointer and code. It repeats nothing of what was sent,
//! because that may be a secret in the wrong member.

use super::answer::{Refusal, field, invalid};
use super::guard::{is_json, not_json, too_large};
use axum::extract::Request;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::limits::{LEASE_MAX_SECONDS, LOCAL_MAX_BYTES};
use baseos_interfaces::problem::FieldError;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The type of a member.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Text with these lengths, characters.
    Text {
        /// At most.
        max: usize,
    },
    /// A number of seconds, 1 to `max`.
    Seconds {
        /// At most.
        max: u32,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

/// A member of a body: name, type, and whether it is required.
pub(super) type Member = (&'static str, Kind, bool);

/// The body of `POST /v1/update/defer`.
pub(super) const DEFER: &[Member] = &[
    ("untilSeconds", Kind::Seconds { max: u32::MAX }, true),
    ("reason", Kind::Text { max: 200 }, true),
];
/// The body of `PUT /v1/locks/{name}`.
pub(super) const LOCK: &[Member] = &[
    ("reason", Kind::Text { max: 200 }, true),
    (
        "ttlSeconds",
        Kind::Seconds {
            max: LEASE_MAX_SECONDS,
        },
        true,
    ),
    ("scope", Kind::OneOf(&["app", "hostOs", "reboot"]), false),
];
/// The body of `POST /v1/join`.
pub(super) const JOIN: &[Member] = &[
    ("joinToken", Kind::Text { max: 1024 }, true),
    ("replace", Kind::Flag, false),
];

/// Reads a JSON body of this shape.
pub(super) async fn read<T: DeserializeOwned>(request: Request, members: &[Member]) -> Result<T, Refusal> {
    if !is_json(request.headers()) {
        return Err(not_json().into());
    }
    let limited = Limited::new(request.into_body(), LOCAL_MAX_BYTES);
    let bytes = match limited.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large().into()),
        Err(_) => return Err(invalid("The body ended early.", Vec::new())),
    };
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
        return Err(invalid(
            "The body is not valid JSON.",
            vec![field("", FieldCode::Syntax)],
        ));
    };
    let errors = check(&value, members);
    if !errors.is_empty() {
        return Err(invalid(describe(members), errors));
    }
    // Fails only if the table above and the type differ, which a test excludes.
    serde_json::from_value(value)
        .map_err(|_| invalid(describe(members), vec![field("", FieldCode::InvalidValue)]))
}

/// All errors of the members of a body.
fn check(value: &Value, members: &[Member]) -> Vec<FieldError> {
    let Value::Object(object) = value else {
        return vec![field("", FieldCode::InvalidValue)];
    };
    let known = members.iter().filter_map(|(name, kind, required)| {
        let code = match object.get(*name) {
            Some(value) => wrong(value, *kind)?,
            None if *required => FieldCode::Missing,
            None => return None,
        };
        Some(field(format!("/{name}"), code))
    });
    let unknown = object
        .keys()
        .filter(|key| !members.iter().any(|(name, ..)| name == key))
        // A key may be anything, even a token: it is repeated only when it looks like a name.
        .map(|key| match key.len() <= 32 && key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            true => field(format!("/{key}"), FieldCode::UnknownMember),
            false => field("", FieldCode::UnknownMember),
        });
    known.chain(unknown).collect()
}

fn wrong(value: &Value, kind: Kind) -> Option<FieldCode> {
    match (kind, value) {
        (Kind::Text { .. }, Value::String(text)) if text.trim().is_empty() => Some(FieldCode::Empty),
        (Kind::Text { max }, Value::String(text)) => {
            (text.chars().count() > max).then_some(FieldCode::TooLong)
        }
        (Kind::Seconds { max }, Value::Number(number)) => {
            let within = number
                .as_u64()
                .is_some_and(|seconds| (1..=max.into()).contains(&seconds));
            (!within).then_some(FieldCode::OutOfRange)
        }
        (Kind::OneOf(names), Value::String(text)) => {
            (!names.contains(&text.as_str())).then_some(FieldCode::UnknownValue)
        }
        (Kind::Flag, Value::Bool(_)) => None,
        _ => Some(FieldCode::InvalidValue),
    }
}

/// What is valid, in words.
fn describe(members: &[Member]) -> String {
    let all: Vec<_> = members
        .iter()
        .map(|(name, kind, required)| {
            let kind = match kind {
                Kind::Text { max } => format!("text of 1 to {max} characters"),
                Kind::Seconds { max } => format!("whole seconds, 1 to {max}"),
                Kind::OneOf(names) => format!("one of {}", names.join(", ")),
                Kind::Flag => "true or false".to_owned(),
            };
            let optional = if *required { "" } else { ", may be left out" };
            format!("{name} ({kind}{optional})")
        })
        .collect();
    format!("The body is an object with the members {}.", all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::local::{DeferRequest, JoinRequest, LockRequest, LockScope};
    use baseos_interfaces::token::WireSecret;
    use serde_json::json;

    #[test]
    fn the_tables_have_the_members_of_the_types() {
        let names = |value: Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let table = |members: &[Member]| -> Vec<String> {
            let mut names: Vec<_> = members.iter().map(|(name, ..)| (*name).to_owned()).collect();
            names.sort();
            names
        };
        let defer = DeferRequest {
            until_seconds: 1,
            reason: "r".to_owned(),
        };
        assert_eq!(names(serde_json::to_value(defer).unwrap()), table(DEFER));
        let lock = LockRequest {
            reason: "r".to_owned(),
            ttl_seconds: 1,
            scope: LockScope::HostOs,
        };
        assert_eq!(names(serde_json::to_value(lock).unwrap()), table(LOCK));
        let join = JoinRequest {
            join_token: WireSecret::new("x"),
            replace: true,
        };
        assert_eq!(names(serde_json::to_value(join).unwrap()), table(JOIN));
    }

    #[test]
    fn every_wrong_member_is_named_with_what_is_wrong() {
        let body = json!({ "reason": "", "ttlSeconds": 3601, "scope": "all", "extra": 1 });
        let found: Vec<_> = check(&body, LOCK)
            .into_iter()
            .map(|e| (e.pointer, e.code))
            .collect();
        let wanted = [
            ("/reason", "empty"),
            ("/ttlSeconds", "outOfRange"),
            ("/scope", "unknownValue"),
            ("/extra", "unknownMember"),
        ];
        assert_eq!(found, wanted.map(|(p, c)| (p.to_owned(), FieldCode::from(c))));
        assert_eq!(check(&json!({ "ttlSeconds": "1" }), LOCK)[0].code, "missing");
        assert_eq!(
            check(&json!({ "ttlSeconds": "1", "reason": "r" }), LOCK)[0].code,
            "invalidValue"
        );
        assert_eq!(check(&json!([]), LOCK)[0].code, "invalidValue");
        assert!(check(&json!({ "ttlSeconds": 3600, "reason": "r" }), LOCK).is_empty());
    }

    #[test]
    fn a_secret_used_as_a_member_name_is_not_repeated() {
        let body = json!({ "joinToken": "t", "szj_0123456789_abc": true });
        assert_eq!(check(&body, JOIN), [field("", FieldCode::UnknownMember)]);
    }
}
