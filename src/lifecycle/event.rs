//! Events: facts that happened, past tense. They carry data, never handles and never secrets.

use crate::lifecycle::effect::{OpId, RequestId};
use crate::lifecycle::facts::{
    CallFailure, HostFacts, Inspection, JoinOffer, SupervisorError, SupervisorView,
};
use crate::lifecycle::progress::fact::LogFact;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Instructions;
use baseos_interfaces::local::{DeferRequest, LockRequest};
use baseos_interfaces::register::{Approval, Fleet, ServerLimits};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A deadline came. Made by the runtime from the machine's own timer table.
    Elapsed(Timer),
    /// The process was asked to stop (SIGTERM, SIGINT).
    StopRequested,
    /// An effect did not leave, because its checkpoint could not be written.
    Withheld {
        op: Option<OpId>,
        /// The request on the local API whose answer it was; it was refused instead.
        #[serde(default)]
        request: Option<RequestId>,
        /// Why the checkpoint could not be written.
        problem: String,
    },
    /// Writing the checkpoint failed, or works again (`None`).
    StateWritten { problem: Option<String> },

    /// Cloudly gave this node an identity; its token is already stored.
    Registered {
        op: OpId,
        /// The answer, without the secret.
        node: Box<Registration>,
    },
    /// Cloudly did not register this node.
    RegisterFailed { op: OpId, failure: CallFailure },
    /// Cloudly accepted a heartbeat.
    HeartbeatAnswered {
        op: OpId,
        /// Which node Cloudly took it for; `None`: the store does not know it.
        #[serde(default)]
        node_id: Option<String>,
        instructions: Box<Instructions>,
        /// Whether it brought new credentials, and they are stored.
        credentials_stored: bool,
    },
    /// Cloudly did not accept a heartbeat.
    HeartbeatFailed { op: OpId, failure: CallFailure },

    /// The poller looked at the Supervisor and something was different.
    SupervisorObserved(Box<Result<SupervisorView, SupervisorError>>),
    /// The Supervisor's log said something about its work, or is read or no longer read.
    SupervisorLogged(LogFact),
    /// The Supervisor wrote in its log that a service's process ended without having been stopped by it.
    ServiceExited { service: String },
    /// The Supervisor answered a call.
    SupervisorAnswered {
        op: OpId,
        answer: Box<Result<SupervisorAnswer, SupervisorError>>,
    },
    /// The poller looked at the host and something was different.
    HostObserved(HostFacts),
    /// The update-lock files were held or released, or not.
    LockFilesSettled { op: OpId, problem: Option<String> },

    /// A client of the local API asked.
    LocalRequested {
        /// To be answered under this name.
        request: RequestId,
        call: LocalCall,
    },
}

/// The answer to a registration, without the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    pub node_id: String,
    /// Whether an operator let it in.
    pub approval: Approval,
    /// Why approval is pending.
    pub approval_reason: Option<String>,
    pub fleet: Option<Fleet>,
    /// When the first heartbeat is due, seconds.
    pub next_heartbeat_seconds: u32,
    pub limits: ServerLimits,
    pub server_time: Timestamp,
}

/// What the Supervisor answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SupervisorAnswer {
    /// To `Inspect`.
    Inspected(Box<Inspection>),
    /// To everything that is only accepted; doing it is observed, not answered.
    Accepted,
    /// To `CollectLogs`: redacted, at most 16 KiB.
    Logs(String),
}

/// A request on the local API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LocalCall {
    /// `GET /v1/handshake`.
    Handshake,
    /// `GET /v1/status`.
    Status,
    /// `POST /v1/update/check`.
    Check,
    /// `POST /v1/update/approve`.
    Approve,
    /// `POST /v1/update/defer`.
    Defer(DeferRequest),
    /// `PUT /v1/locks/{name}`.
    Lock {
        name: String,
        owner: String,
        request: LockRequest,
    },
    /// `DELETE /v1/locks/{name}`.
    Unlock { name: String, owner: String },
    /// `GET /v1/locks`.
    Locks,
    /// `GET /v1/doctor`.
    Doctor,
    /// `POST /v1/join`.
    Join(JoinOffer),
}

impl Event {
    /// A short name for logs, tables and the diagram.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Elapsed(timer) => timer.elapsed_name(),
            Self::StopRequested => "stopRequested",
            Self::Withheld { .. } => "withheld",
            Self::StateWritten { .. } => "stateWritten",
            Self::Registered { .. } => "registered",
            Self::RegisterFailed { .. } => "registerFailed",
            Self::HeartbeatAnswered { .. } => "heartbeatAnswered",
            Self::HeartbeatFailed { .. } => "heartbeatFailed",
            Self::SupervisorObserved(_) => "supervisorObserved",
            Self::SupervisorLogged(_) => "supervisorLogged",
            Self::ServiceExited { .. } => "serviceExited",
            Self::SupervisorAnswered { .. } => "supervisorAnswered",
            Self::HostObserved(_) => "hostObserved",
            Self::LockFilesSettled { .. } => "lockFilesSettled",
            Self::LocalRequested { .. } => "localRequested",
        }
    }

    /// The operation whose result this is.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Registered { op, .. }
            | Self::RegisterFailed { op, .. }
            | Self::HeartbeatAnswered { op, .. }
            | Self::HeartbeatFailed { op, .. }
            | Self::SupervisorAnswered { op, .. }
            | Self::LockFilesSettled { op, .. } => Some(*op),
            Self::Withheld { op, .. } => *op,
            Self::Elapsed(_)
            | Self::StopRequested
            | Self::StateWritten { .. }
            | Self::SupervisorObserved(_)
            | Self::SupervisorLogged(_)
            | Self::ServiceExited { .. }
            | Self::HostObserved(_)
            | Self::LocalRequested { .. } => None,
        }
    }
}
