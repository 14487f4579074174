//! The desired state of a node, as its heartbeat answer carries it.

use crate::storage::database::{Connection, Result};
use crate::storage::releases;
use crate::storage::targets::Target;
use baseos_interfaces::Timestamp;
use baseos_interfaces::desired::{Desired, DesiredApp};

/// The revision a node should be on. `floor` keeps it from falling when the node loses its own target.
pub(super) fn revision(target: Option<&Target>, floor: u64) -> u64 {
    target.map_or(0, |target| target.revision).max(floor)
}

/// `running` is the commit that the node reports to run: what it goes back to if it has not put it in place itself.
pub(super) async fn document(
    c: &mut Connection,
    target: Option<Target>,
    revision: u64,
    running: Option<&str>,
    now: Timestamp,
) -> Result<Desired> {
    let mut desired = Desired {
        revision,
        issued_at: now,
        reset: false,
        app: None,
        fallback: None,
        host_os: None,
    };
    let Some(target) = target else {
        return Ok(desired);
    };
    desired.issued_at = target.set_at;
    if let Some(commit) = &target.commit
        && let Some(record) = releases::find(c, commit).await?
    {
        desired.app = Some(DesiredApp {
            release: record.release,
            rollout_id: None,
            slot: None,
            policy: target.policy,
        });
        if let Some(running) = running.filter(|running| running != commit) {
            let known = releases::find(c, running).await?;
            desired.fallback = known.map(|record| record.release);
        }
    }
    Ok(desired)
}
