//! How a lease is granted.

use crate::lifecycle::effect::RequestId;
use baseos_interfaces::local::Lock;

/// Whether new leases are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    /// At once.
    Freely,
    /// If balena's lock files can be held for them.
    IfHeld,
    /// Containers are being changed, or are about to be as soon as the locks end.
    Not,
}

/// A lease whose asker waits for the lock files.
#[derive(Clone, Debug)]
pub(crate) struct Provisional {
    pub(crate) request: RequestId,
    pub(crate) lock: Lock,
}
