//! The names of the agent's own settings in its environment (contract §7).

use crate::suggest::closest;

/// What the names begin with. Others that begin so are ignored by agents, which say so in their logs.
const PREFIX: &str = "BASEOS_";

/// All names, in the order of the contract.
pub const AGENT_VARIABLES: [&str; 21] = [
    "BASEOS_CLOUDLY_URL",
    "BASEOS_JOIN_TOKEN",
    "BASEOS_CLOUDLY_CA",
    "BASEOS_ALLOW_HTTP",
    "BASEOS_PROXY",
    "BASEOS_NO_PROXY",
    "BASEOS_STATE_DIR",
    "BASEOS_RUN_DIR",
    "BASEOS_LOCK_DIR",
    "BASEOS_CONFIG",
    "BASEOS_NODE_NAME",
    "BASEOS_LABELS",
    "BASEOS_SERVICE",
    "BASEOS_LOG",
    "BASEOS_LOG_FORMAT",
    "BASEOS_AGENT_URL",
    "BASEOS_API_HOSTS",
    "BASEOS_SUPERVISOR_POLL",
    "BASEOS_RESERVE_BYTES",
    "BASEOS_JOURNAL_BYTES",
    "BASEOS_GUARD_BUDGET",
];

/// Why a variable in the agent's environment is probably a mistake. Not an error: a newer agent may know it.
pub fn unknown_agent_variable(name: &str) -> Option<String> {
    if !name.starts_with(PREFIX) || AGENT_VARIABLES.contains(&name) {
        return None;
    }
    Some(match closest(name, AGENT_VARIABLES.into_iter()) {
        Some(near) => format!("{name} is not known; is {near} meant?"),
        None => format!("{name} is not known and is ignored"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_told_with_the_nearest_one() {
        for (name, said) in [
            ("BASEOS_CLOUDLY_URL", None),
            ("CLOUDLY_URL", None),
            (
                "BASEOS_CLOUDLY_ULR",
                Some("BASEOS_CLOUDLY_ULR is not known; is BASEOS_CLOUDLY_URL meant?"),
            ),
            (
                "BASEOS_SOMETHING_ELSE",
                Some("BASEOS_SOMETHING_ELSE is not known and is ignored"),
            ),
        ] {
            assert_eq!(unknown_agent_variable(name).as_deref(), said, "{name}");
        }
    }
}
