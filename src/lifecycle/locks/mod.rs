//! Update locks: leases over the local API, and balena's lock files that follow them.

pub(crate) mod grants;
pub(crate) mod lease_grant;
pub(crate) mod leases;
pub(crate) mod lock_files;
