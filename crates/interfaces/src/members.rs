//! Strict reading of what operators write: a mistyped member would be ignored, so one that is not known is refused; and
//! serde would take a list for an object, by the order of its members.
//! Devices read the same types leniently, because Cloudly may be newer than they are.

use crate::codes::FieldCode;
use crate::problem;
use crate::suggest;
use serde_json::{Map, Value};
use std::fmt;

/// The members that a JSON document may have. Other values of the wrong type are not this module's concern.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Anything.
    Any,
    /// An object with these members alone.
    Object(&'static [(&'static str, Self)]),
    /// An array or an object, each value of this shape.
    Each(&'static Self),
}

/// [`crate::desired::Policy`].
pub const POLICY: Shape = Shape::Object(&[
    ("windows", Shape::Each(&WINDOW)),
    ("maxDeferSeconds", Shape::Any),
    ("maxAttempts", Shape::Any),
    ("healthSeconds", Shape::Any),
    ("applyTimeoutSeconds", Shape::Any),
    ("onFailure", Shape::Any),
    ("heal", Shape::Any),
    ("requireLocalApproval", Shape::Any),
    ("requireRollback", Shape::Any),
    ("force", FORCE),
]);
const WINDOW: Shape = Shape::Object(&[
    ("days", Shape::Any),
    ("start", Shape::Any),
    ("durationSeconds", Shape::Any),
    ("timeZone", Shape::Any),
]);
const FORCE: Shape = Shape::Object(&[("by", Shape::Any), ("reason", Shape::Any)]);

/// [`crate::admin::SetDesired`].
pub const SET_DESIRED: Shape = Shape::Object(&[
    ("commit", Shape::Any),
    ("policy", POLICY),
    ("forceTtlSeconds", Shape::Any),
]);

/// [`crate::admin::CreateRelease`].
pub const CREATE_RELEASE: Shape = Shape::Object(&[
    ("commit", Shape::Any),
    ("version", Shape::Any),
    ("agentService", Shape::Any),
    ("services", Shape::Each(&SERVICE)),
    ("volumes", Shape::Any),
    ("networks", Shape::Any),
]);
const SERVICE: Shape = Shape::Object(&[
    ("image", Shape::Any),
    ("environment", Shape::Any),
    ("labels", Shape::Any),
    ("composition", Shape::Any),
    ("sizeBytes", Shape::Any),
    ("platforms", Shape::Each(&PLATFORM)),
]);
const PLATFORM: Shape = Shape::Object(&[("configDigest", Shape::Any), ("sizeBytes", Shape::Any)]);

/// What a document may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongMember {
    /// A member that is not known.
    Unknown {
        /// Where it is, a JSON pointer (RFC 6901).
        pointer: String,
        /// The member that was meant, unless all names differ too much.
        nearest: Option<&'static str>,
        /// All that there are.
        known: Vec<&'static str>,
    },
    /// A list in the place of an object.
    List {
        /// Where it is.
        pointer: String,
    },
}

impl WrongMember {
    /// Where it is, and the code of what is wrong with it.
    #[must_use]
    pub fn place(&self) -> (&str, FieldCode) {
        match self {
            Self::Unknown { pointer, .. } => (pointer, FieldCode::UnknownMember),
            Self::List { pointer } => (pointer, FieldCode::InvalidValue),
        }
    }
}

impl fmt::Display for WrongMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                pointer,
                nearest: Some(nearest),
                ..
            } => write!(f, "`{pointer}` is not known: did you mean `{nearest}`?"),
            Self::Unknown { pointer, known, .. } => {
                write!(f, "`{pointer}` is not known: use {}", known.join(", "))
            }
            Self::List { pointer } if pointer.is_empty() => write!(f, "expected an object, not a list"),
            Self::List { pointer } => write!(f, "`{pointer}`: expected an object, not a list"),
        }
    }
}

impl std::error::Error for WrongMember {}

impl Shape {
    /// Looks for members that are not known, and for lists in the place of objects.
    ///
    /// # Errors
    /// Names the first one.
    pub fn check(self, value: &Value) -> Result<(), WrongMember> {
        self.check_at(&mut Vec::new(), value)
    }

    fn check_at(self, path: &mut Vec<String>, value: &Value) -> Result<(), WrongMember> {
        match (self, value) {
            (Self::Object(members), Value::Object(object)) => check_object(members, path, object),
            (Self::Object(_), Value::Array(_)) => Err(WrongMember::List {
                pointer: problem::pointer(path),
            }),
            (Self::Each(shape), Value::Array(items)) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| shape.check_below(path, index.to_string(), item))
            }
            (Self::Each(shape), Value::Object(items)) => {
                let mut items = items.iter();
                items.try_for_each(|(name, item)| shape.check_below(path, name.clone(), item))
            }
            _ => Ok(()),
        }
    }

    fn check_below(self, path: &mut Vec<String>, name: String, value: &Value) -> Result<(), WrongMember> {
        path.push(name);
        self.check_at(path, value)?;
        path.pop();
        Ok(())
    }
}

fn check_object(
    members: &'static [(&'static str, Shape)],
    path: &mut Vec<String>,
    object: &Map<String, Value>,
) -> Result<(), WrongMember> {
    for (name, value) in object {
        let Some((_, shape)) = members.iter().find(|(member, _)| member == name) else {
            let known: Vec<_> = members.iter().map(|(member, _)| *member).collect();
            path.push(name.clone());
            return Err(WrongMember::Unknown {
                pointer: problem::pointer(path.iter().cloned()),
                nearest: suggest::closest(name, known.iter().copied()),
                known,
            });
        };
        shape.check_below(path, name.clone(), value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{CreateRelease, SetDesired};
    use crate::desired::{Force, PlatformImage, Policy, Service};
    use crate::window::Window;
    use serde::Serialize;
    use serde_json::json;

    /// Every member of a shape is a member of the document, so that none is offered that does not exist.
    fn has_all(shape: Shape, value: &Value) {
        match (shape, value) {
            (Shape::Object(members), Value::Object(object)) => {
                for (name, shape) in members {
                    assert!(object.contains_key(*name), "{name}");
                    has_all(*shape, &object[*name]);
                }
            }
            (Shape::Each(shape), Value::Array(items)) => items.iter().for_each(|item| has_all(*shape, item)),
            (Shape::Each(shape), Value::Object(items)) => {
                items.values().for_each(|item| has_all(*shape, item));
            }
            _ => {}
        }
    }

    fn holds(shape: Shape, full: &impl Serialize) {
        let value = serde_json::to_value(full).unwrap();
        assert_eq!(shape.check(&value), Ok(()));
        has_all(shape, &value);
    }

    #[test]
    fn shapes_have_the_members_of_their_types() {
        let window = Window {
            days: vec!["sat".to_owned()],
            start: "01:00".to_owned(),
            duration_seconds: 3600,
            time_zone: "UTC".to_owned(),
        };
        let force = Force {
            by: "ada".to_owned(),
            reason: "urgent".to_owned(),
            // Cloudly's, not the operator's.
            expires_at: None,
        };
        // All members by name, so that a new one is not forgotten here.
        let policy = Policy {
            windows: vec![window],
            max_defer_seconds: 1,
            max_attempts: 1,
            health_seconds: 1,
            apply_timeout_seconds: 1,
            on_failure: Default::default(),
            heal: Default::default(),
            require_local_approval: true,
            require_rollback: true,
            force: Some(force),
        };
        holds(POLICY, &policy);
        let set = SetDesired {
            commit: None,
            policy: Some(policy),
            force_ttl_seconds: Some(60),
        };
        holds(SET_DESIRED, &set);
        let platform = PlatformImage {
            config_digest: Some("sha256:0".to_owned()),
            size_bytes: Some(1),
        };
        let service = Service {
            image: "onebox:1".to_owned(),
            environment: Default::default(),
            labels: Default::default(),
            composition: Default::default(),
            size_bytes: Some(1),
            platforms: [("linux/amd64".to_owned(), platform)].into(),
        };
        holds(
            CREATE_RELEASE,
            &CreateRelease {
                commit: "c0ffee1".to_owned(),
                version: Some("1".to_owned()),
                agent_service: Some("edge".to_owned()),
                services: [("onebox".to_owned(), service)].into(),
                volumes: Default::default(),
                networks: Default::default(),
            },
        );
    }

    #[test]
    fn an_unknown_member_is_named_with_the_nearest_known_one_and_a_list_by_its_place() {
        for (shape, document, expected) in [
            (
                POLICY,
                json!({ "maxAttempt": 9 }),
                "`/maxAttempt` is not known: did you mean `maxAttempts`?",
            ),
            (
                SET_DESIRED,
                json!({ "policy": { "windows": [{}, { "zone": "UTC" }] } }),
                "`/policy/windows/1/zone` is not known: use days, start, durationSeconds, timeZone",
            ),
            (
                CREATE_RELEASE,
                json!({ "services": { "one/box": { "enviroment": {} } } }),
                "`/services/one~1box/enviroment` is not known: did you mean `environment`?",
            ),
            (
                SET_DESIRED,
                json!({ "policy": [] }),
                "`/policy`: expected an object, not a list",
            ),
            (POLICY, json!([]), "expected an object, not a list"),
        ] {
            assert_eq!(shape.check(&document).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn members_that_operators_name_and_values_of_the_wrong_type_are_left_alone() {
        let service = json!({ "environment": { "ANY": "1" }, "composition": { "any": {} } });
        for document in [
            json!({ "services": { "any": service }, "volumes": { "any": {} } }),
            json!({ "services": 7 }),
            json!("x"),
        ] {
            assert_eq!(CREATE_RELEASE.check(&document), Ok(()));
        }
    }
}
