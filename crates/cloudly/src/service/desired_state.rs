//! The desired state of a node, as its heartbeat answer carries it.

use crate::storage::revisions::revision_at;
use crate::storage::targets::Target;
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::{Desired, DesiredApp, Release};

/// The revision a node should be on. `floor` keeps it from falling when the node loses its own target.
pub(super) fn revision(target: Option<&Target>, floor: u64, now: Timestamp) -> u64 {
    let issued = target.map_or(0, |target| target.revision).max(floor);
    revision_at(issued, target.and_then(Target::force_until), now)
}

/// `release` is the target's, and `running` the one that the node reports to run: what it goes back to if it has not put
/// it in place itself.
pub(super) fn document(
    target: Option<Target>,
    revision: u64,
    release: Option<Release>,
    running: Option<Release>,
    now: Timestamp,
) -> Desired {
    let mut desired = Desired {
        revision,
        issued_at: now,
        reset: false,
        app: None,
        fallback: None,
        host_os: None,
    };
    let Some(target) = target else {
        return desired;
    };
    desired.issued_at = target.set_at;
    if let Some(release) = release {
        desired.fallback = running.filter(|running| running.commit != release.commit);
        desired.app = Some(DesiredApp {
            release,
            rollout_id: None,
            slot: None,
            policy: target.policy_at(now),
        });
    }
    desired
}
