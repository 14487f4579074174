//! Revisions of what is desired, which end by themselves with an order to go ahead.

use baseos_interfaces::Timestamp;

/// The revision at that time of what was issued: one higher once its order to go ahead is over, so that nodes which have
/// the order are told. That number was issued with the first one.
pub(crate) fn revision_at(issued: u64, force_until: Option<Timestamp>, now: Timestamp) -> u64 {
    issued + u64::from(force_until.is_some_and(|until| until <= now))
}
