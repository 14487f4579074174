//! The form of a commit.

use super::violation::Found;
use crate::codes::FieldCode;

/// The shortest commit, digits.
pub const COMMIT_MIN_LEN: usize = 7;
/// The longest commit, digits.
pub const COMMIT_MAX_LEN: usize = 64;

/// 7 to 64 hex digits in lower case, at least one of them a letter.
///
/// - A letter, because the Supervisor reads image and release id back out of `service_imageId_releaseId_commit`, which
///   a commit of decimal digits breaks for ever (observed).
/// - 7 to 64, because Cloudly always required it and the agent took any length: this is what both accepted. 7 is the
///   shortest that people write, 64 a SHA-256; balena's own have 32 (recordings).
pub(super) fn check(commit: &str, found: &mut Found) {
    if let Err((code, message)) = check_commit(commit) {
        found.add(&["commit"], code, message);
    }
}

/// Checks the form of a commit.
///
/// # Errors
/// Says what is wrong and what would be right.
pub fn check_commit(commit: &str) -> Result<(), (FieldCode, &'static str)> {
    if !(COMMIT_MIN_LEN..=COMMIT_MAX_LEN).contains(&commit.len()) || !is_lower_hex(commit) {
        let message = "a commit is 7 to 64 hex digits in lower case, e.g. 1f0a9be";
        return Err((FieldCode::NotACommit, message));
    }
    if !commit.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        let message = "a commit needs at least one of the letters a to f: one of decimal digits only breaks the \
                       Supervisor's container names";
        return Err((FieldCode::NoLetter, message));
    }
    Ok(())
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;

    fn codes(commit: &str) -> Vec<String> {
        found_by(|found| check(commit, found))
    }

    #[test]
    fn a_commit_is_7_to_64_lower_case_hex_digits_with_a_letter() {
        for good in ["1f0a9be", "a000000", &"b2".repeat(16), &"0f".repeat(32)] {
            assert_eq!(codes(good), [""; 0], "{good}");
        }
        for bad in [
            "",
            "1f0a9b",
            "1F0A9BE",
            "1f0a9bg",
            "123",
            " 1f0a9be",
            &"0f".repeat(33),
        ] {
            assert_eq!(codes(bad), ["/commit notACommit"], "{bad}");
        }
    }

    #[test]
    fn a_commit_of_digits_only_is_told_from_one_of_another_form() {
        assert_eq!(codes("12345678"), ["/commit noLetter"]);
    }
}
