//! Who may do what: the admin token, the key of all token hashes, and limits for those who try.

pub(crate) mod key_file;
pub(crate) mod limits;
pub(crate) mod operators;
pub(crate) mod pending_tokens;
pub(crate) mod pepper;
pub(crate) mod refusals;
pub(crate) mod refused_tokens;
pub(crate) mod tokens;
