//! The form of a version.

use super::violation::{Found, shown};
use crate::codes::FieldCode;

/// The longest version, characters.
pub const VERSION_MAX_LEN: usize = 64;

/// 1 to 64 characters without control characters, which would forge lines in tables and logs.
pub(super) fn check(version: &str, found: &mut Found) {
    let path = ["version"];
    if version.is_empty() {
        let message = "the version must not be empty: leave it out, or use e.g. 1.13.0";
        found.add(&path, FieldCode::Empty, message);
    }
    if version.chars().count() > VERSION_MAX_LEN {
        let message = format!("the version has more than {VERSION_MAX_LEN} characters");
        found.add(&path, FieldCode::TooLong, message);
    }
    if version.chars().any(char::is_control) {
        let message = format!(
            "the version `{}` holds a control character: use e.g. 1.13.0",
            shown(version)
        );
        found.add(&path, FieldCode::ControlCharacter, message);
    }
}
