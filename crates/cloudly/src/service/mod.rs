//! What Cloudly does, apart from how it is asked (HTTP) and where it keeps things (storage).

pub(crate) mod check;
pub(crate) mod desired;
pub(crate) mod heartbeat;
pub(crate) mod operate;
pub(crate) mod register;
