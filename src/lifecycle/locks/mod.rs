//! Update locks: leases over the local API, and balena's lock files that follow them.

pub(crate) mod leases;
pub(crate) mod lock_files;
