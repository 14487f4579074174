//! The form of names: services, volumes, networks, environment variables, labels, compose keys.

use super::violation::{Found, shown};
use crate::codes::FieldCode;

/// The longest name of a service, volume or network, characters: a service's is also a host name on its network.
pub const NAME_MAX_LEN: usize = 63;
/// The longest name of a variable or label the Supervisor takes, characters (source).
const KEY_MAX_LEN: usize = 255;

/// A service's name: 1 to 63 letters, digits, `_` and `-`, the first a letter or digit.
///
/// The Supervisor would take a `.` too and refuses a leading `_` or `-` (source); the agent refused the `.`, Cloudly
/// the leading `_` and `-`. This is what all three accept.
pub(super) fn service(name: &str, found: &mut Found) {
    if !is_name(name, b"_-") {
        let message = format!(
            "`{}` is not a name for a service: use up to {NAME_MAX_LEN} letters, digits, `_` and `-`, beginning with a \
             letter or digit",
            shown(name)
        );
        found.add(&["services", name], FieldCode::NotAName, message);
    }
}

/// A volume's or network's name: as a service's, and `.` may stand in it.
pub(super) fn named(section: &str, noun: &str, name: &str, found: &mut Found) {
    if !is_name(name, b"_.-") {
        let message = format!(
            "`{}` is not a name for a {noun}: use up to {NAME_MAX_LEN} letters, digits, `_`, `.` and `-`, beginning with \
             a letter or digit",
            shown(name)
        );
        found.add(&[section, name], FieldCode::NotAName, message);
    }
}

/// An environment variable's name: letters, digits and `_`, not beginning with a digit. The Supervisor answers 400 to
/// any other (source).
pub(super) fn variable(service: &str, name: &str, found: &mut Found) {
    let good = name.len() <= KEY_MAX_LEN
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !good {
        let message = format!(
            "`{}` in the environment of `{}` is not a variable's name: use letters, digits and `_`, not beginning with a \
             digit",
            shown(name),
            shown(service)
        );
        found.add(
            &["services", service, "environment", name],
            FieldCode::NotAVariable,
            message,
        );
    }
}

/// A label's name: printable ASCII but for the space and quotes. The Supervisor answers 400 to any other (observed:
/// u05-body-matrix).
pub(super) fn label(service: &str, name: &str, found: &mut Found) {
    let good = (1..=KEY_MAX_LEN).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'`".contains(&byte));
    if !good {
        let message = format!(
            "`{}` in the labels of `{}` is not a label's name: use printable ASCII without spaces and quotes, e.g. \
             com.example.role",
            shown(name),
            shown(service)
        );
        found.add(
            &["services", service, "labels", name],
            FieldCode::NotALabel,
            message,
        );
    }
}

/// A compose key as far as the Supervisor tells keys apart: it turns each into camelCase, so `image_id`, `Image-Id` and
/// `imageId` are one (source). Letters and digits in lower case are at least as coarse as that.
pub(super) fn canonical_key(key: &str) -> String {
    key.bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

fn is_name(name: &str, others: &[u8]) -> bool {
    name.len() <= NAME_MAX_LEN
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;

    #[test]
    fn a_service_is_named_as_supervisor_agent_and_cloudly_all_accept() {
        for good in ["web", "web-1", "web_1", "1", "Web", &"x".repeat(63)] {
            assert_eq!(found_by(|found| service(good, found)), [""; 0], "{good}");
        }
        for bad in [
            "",
            "web.1",
            "_web",
            "-web",
            "wéb",
            "a b",
            "__proto__",
            &"x".repeat(64),
        ] {
            let expected = format!("/services/{bad} notAName");
            assert_eq!(found_by(|found| service(bad, found)), [expected]);
        }
    }

    #[test]
    fn a_volume_or_network_may_have_a_dot_in_its_name() {
        for good in ["data", "data.1", "0"] {
            let found = found_by(|found| named("volumes", "volume", good, found));
            assert_eq!(found, [""; 0], "{good}");
        }
        for bad in ["", ".data", "a:b", "data\n", &"x".repeat(64)] {
            let found = found_by(|found| named("networks", "network", bad, found));
            assert_eq!(found, [format!("/networks/{bad} notAName")]);
        }
    }

    #[test]
    fn a_variable_is_named_as_the_supervisor_takes_it() {
        for good in ["A", "_", "BASEOS_LOG", "a1"] {
            assert_eq!(found_by(|found| variable("web", good, found)), [""; 0], "{good}");
        }
        for bad in ["", "1A", "A-B", "A B", "A=B", "Ä", &"x".repeat(256)] {
            let expected = format!("/services/web/environment/{bad} notAVariable");
            assert_eq!(found_by(|found| variable("web", bad, found)), [expected]);
        }
    }

    #[test]
    fn a_label_is_named_as_the_supervisor_takes_it() {
        for good in ["io.balena.features.supervisor-api", "1", "a_b", "a=b"] {
            assert_eq!(found_by(|found| label("web", good, found)), [""; 0], "{good}");
        }
        for bad in ["", "a b", "a\"", "a'b", "`", "é", &"x".repeat(256)] {
            let expected = format!("/services/web/labels/{bad} notALabel");
            assert_eq!(found_by(|found| label("web", bad, found)), [expected]);
        }
    }
}
