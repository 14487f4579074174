//! As whom the agent runs, so far as it can be told without the device, whose state that user has to read and replace.

use super::compose_keys::camel_case;
use super::violation::shown;
use serde_json::{Map, Value};

/// As whom the Supervisor makes its lock files: it removes those of this user as its own leftovers.
pub const SUPERVISOR_UID: u32 = 65534;

/// The capabilities that root needs to read files of others, and to leave what it writes to the directory's owner.
pub const ROOT_CAPABILITIES: [&str; 2] = ["DAC_OVERRIDE", "CHOWN"];

/// The number of the user that this composition gives the agent; `None`: the image's own user, which nobody can tell
/// beforehand.
///
/// # Errors
/// Why the agent could run as this user on no device, as a sentence without an end.
pub fn agent_user(composition: &Map<String, Value>) -> Result<Option<u32>, String> {
    // The Supervisor reads keys in any spelling.
    let mut members = composition.iter();
    let user = members.find_map(|(key, value)| (camel_case(key) == "user").then_some(value));
    user.and_then(Value::as_str).map_or(Ok(None), uid)
}

/// The same, of the value.
pub(super) fn uid(user: &str) -> Result<Option<u32>, String> {
    let user = user.trim();
    let (name, _) = user.split_once(':').unwrap_or((user, ""));
    let uid = match name {
        "" => return Ok(None),
        "root" => 0,
        // The image would have to have a list of users, and who is meant cannot be told from here.
        name => name
            .parse()
            .map_err(|_| format!("the user `{}` is not a number", shown(name)))?,
    };
    if uid == SUPERVISOR_UID {
        return Err(format!(
            "as user {uid} the agent could hold nothing back, because the Supervisor removes lock files of that user as its \
             own"
        ));
    }
    Ok(Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_root_and_never_the_supervisors() {
        for (user, expected) in [
            ("", None),
            (":10001", None),
            ("root", Some(0)),
            ("0:0", Some(0)),
            (" 10001:10001", Some(10001)),
        ] {
            assert_eq!(uid(user), Ok(expected), "{user}");
        }
        for (user, part) in [
            ("nobody\n", "`nobody` is not a number"),
            ("4294967296", "is not a number"),
            ("-1", "is not a number"),
            ("65534", "the Supervisor removes lock files"),
            ("65534:0", "the Supervisor removes lock files"),
        ] {
            let problem = uid(user).unwrap_err();
            assert!(problem.contains(part), "{user}: {problem}");
        }
    }
}
