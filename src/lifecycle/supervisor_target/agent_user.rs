//! The user that a release gives the agent's service must be able to read and replace the state: it belongs to the owner of
//! its directory, to nobody else.

use crate::lifecycle::facts::StateOwner;
use baseos_interfaces::rules::{ROOT_CAPABILITIES, SUPERVISOR_UID, agent_user, camel_case};
use serde_json::{Map, Value};

/// Why the agent could not use its state under this composition, as a sentence. Without `user` it is the image's own user,
/// which nobody can tell beforehand.
pub(crate) fn problem(composition: &Map<String, Value>, owner: StateOwner) -> Option<String> {
    let capabilities = ROOT_CAPABILITIES.join(" and ");
    let right = match (owner.uid, owner.gid) {
        (0, 0) | (SUPERVISOR_UID, _) => format!("write \"0:0\" with the capabilities {capabilities}"),
        (uid, gid) => format!("write \"{uid}:{gid}\", or \"0:0\" with the capabilities {capabilities}"),
    };
    let uid = match agent_user(composition) {
        Ok(uid) => uid?,
        Err(problem) => return Some(format!("{problem}: {right}")),
    };
    let is_owner = uid == owner.uid && owner.mode & 0o300 == 0o300;
    if is_owner {
        return None;
    }
    if uid != 0 {
        return Some(format!(
            "user {uid} could not read the agent's state, which belongs to {}: {right}",
            owner.uid
        ));
    }
    let missing: Vec<_> = ROOT_CAPABILITIES
        .into_iter()
        .filter(|name| !has(composition, name))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "as root without {} the agent could not use its state, which belongs to {}: {right}",
            missing.join(" and "),
            owner.uid
        )
    })
}

/// Whether a container of root has the capability: the engine's default set has both, `cap_drop` goes before `cap_add`.
fn has(composition: &Map<String, Value>, capability: &str) -> bool {
    let names = |key: &str, wanted: &str| {
        let listed = member(composition, key).and_then(Value::as_array);
        listed
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|name| {
                let name = name.to_ascii_uppercase();
                name.strip_prefix("CAP_").unwrap_or(&name) == wanted
            })
    };
    let any = |key: &str| names(key, capability) || names(key, "ALL");
    member(composition, "privileged") == Some(&Value::Bool(true)) || any("capAdd") || !any("capDrop")
}

/// The Supervisor reads keys in any spelling.
fn member<'a>(composition: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let mut members = composition.iter();
    members.find_map(|(written, value)| (camel_case(written) == key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OWNER: StateOwner = StateOwner {
        uid: 10001,
        gid: 10001,
        mode: 0o755,
    };

    fn problem_of(composition: &Value, owner: StateOwner) -> Option<String> {
        problem(composition.as_object().unwrap(), owner)
    }

    #[test]
    fn the_owner_and_root_may_use_the_state() {
        for composition in [
            json!({}),
            json!({ "user": "" }),
            json!({ "user": "10001" }),
            json!({ "user": "10001:0" }),
            json!({ "user": "0:0" }),
            json!({ "user": "root" }),
            json!({ "user": "0", "cap_drop": ["NET_RAW"] }),
            json!({ "user": "0", "cap_drop": ["ALL"], "cap_add": ["CAP_CHOWN", "dac_override"] }),
            json!({ "user": "0", "cap_drop": ["ALL"], "privileged": true }),
            json!({ "user": "10001", "cap_drop": ["ALL"] }),
        ] {
            assert_eq!(problem_of(&composition, OWNER), None, "{composition}");
        }
    }

    #[test]
    fn who_could_not_use_the_state_is_refused_with_what_is_right() {
        for (composition, part) in [
            (json!({ "user": "1000" }), "user 1000 could not read"),
            (json!({ "user": "nobody:10001" }), "`nobody` is not a number"),
            (
                json!({ "user": "0", "cap_drop": ["ALL"] }),
                "without DAC_OVERRIDE and CHOWN",
            ),
            (json!({ "user": "0", "cap_drop": ["cap_chown"] }), "without CHOWN"),
        ] {
            let problem = problem_of(&composition, OWNER).unwrap();
            assert!(problem.contains(part), "{composition}: {problem}");
            assert!(problem.contains("write \"10001:10001\""), "{problem}");
        }
        let of_root = StateOwner {
            uid: 0,
            gid: 0,
            ..OWNER
        };
        let problem = problem_of(&json!({ "user": "10001" }), of_root).unwrap();
        assert_eq!(problem.matches("\"0:0\"").count(), 1, "{problem}");
        assert_eq!(
            problem_of(&json!({ "user": "0", "cap_drop": ["ALL"] }), of_root),
            None
        );
        let of_the_supervisor = StateOwner {
            uid: SUPERVISOR_UID,
            gid: SUPERVISOR_UID,
            ..OWNER
        };
        for owner in [OWNER, of_the_supervisor] {
            let problem = problem_of(&json!({ "user": "65534" }), owner).unwrap();
            assert!(problem.contains("the Supervisor removes lock files"), "{problem}");
            assert!(!problem.contains("write \"65534"), "{problem}");
        }
        let read_only = StateOwner { mode: 0o500, ..OWNER };
        assert!(problem_of(&json!({ "user": "10001" }), read_only).is_some());
    }
}
