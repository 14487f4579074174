//! Why a service did not do what it was asked for.

use crate::random::NoRandomness;
use crate::storage::database;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::rules::Violations;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// `Display` is the sentence for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no {noun} with the id `{id}`")]
    NotFound { noun: &'static str, id: String },
    #[error("{0}")]
    Conflict(String),
    /// Another revision is there than the one that the request is for.
    #[error("what is desired there is at revision {present} now, not at {wanted}")]
    RevisionChanged { present: u64, wanted: String },
    #[error("{message}")]
    Invalid { message: String, fields: Vec<Field> },
    #[error("{0}")]
    ReleaseRefused(Violations),
    #[error("too many requests")]
    RateLimited { retry_after_seconds: u32 },
    #[error("the admin token is missing or not accepted")]
    AdminTokenInvalid,
    #[error("the join token is not accepted")]
    JoinTokenInvalid,
    #[error("the node token is not accepted")]
    NodeTokenInvalid,
    #[error("an operator suspended this node")]
    NodeSuspended { next_heartbeat_seconds: u32 },
    #[error("an operator removed this node")]
    NodeRemoved { next_heartbeat_seconds: u32 },
    #[error("protocol version {0} is too old; this Cloudly speaks {PROTOCOL_VERSION}")]
    ProtocolTooOld(u32),
    #[error("the database is not available")]
    Storage(#[source] database::Error),
    /// As it is it never can.
    #[error("the database holds what cannot be read")]
    Damaged(#[source] database::Error),
    #[error("more requests come than can be stored")]
    Overloaded,
    #[error("{0}")]
    Unhealthy(#[from] database::CheckError),
    #[error("no token can be made")]
    Randomness(#[from] NoRandomness),
}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::Overloaded => Self::Overloaded,
            error if error.is_transient() => Self::Storage(error),
            error => Self::Damaged(error),
        }
    }
}

/// A member of the request that is wrong.
#[derive(Debug)]
pub(crate) struct Field {
    /// JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    pub(crate) code: FieldCode,
}

impl Error {
    /// The request as a whole is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// One member of the request is wrong.
    pub(super) fn field(pointer: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        let pointer = pointer.into();
        Self::Invalid {
            message: message.into(),
            fields: vec![Field { pointer, code }],
        }
    }
}
