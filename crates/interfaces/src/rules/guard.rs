//! The guard of the agent's own update: a service that agents add to a local target, and no release holds.

use super::parts::ReleaseParts;
use super::violation::Found;
use crate::codes::FieldCode;

/// The name of the guard's service. Agents add it to the local target beside the services of a release.
pub const GUARD_SERVICE: &str = "baserunner-guard";

/// The guard's program, beside the agent's in its image: `baserunner guard` runs it.
pub const GUARD_PROGRAM: &str = "baserunner-guard";

/// No service of a release has the guard's name: the agent would replace it.
pub(super) fn check(parts: &ReleaseParts<'_>, found: &mut Found) {
    if parts.services.contains_key(GUARD_SERVICE) {
        let message = format!(
            "the name `{GUARD_SERVICE}` is reserved: agents add a service of that name, which guards their own update; use \
             another name"
        );
        found.add(&["services", GUARD_SERVICE], FieldCode::ReservedName, message);
    }
}
