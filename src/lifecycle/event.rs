//! Events: facts that happened, past tense. They carry data, never handles and never secrets.

use crate::lifecycle::effect::{OpId, RequestId};
use crate::lifecycle::facts::{
    CallFailure, HostFacts, Inspection, JoinOffer, SupervisorError, SupervisorView,
};
use crate::lifecycle::timer::Timer;
use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Orders;
use baseos_interfaces::local::{DeferRequest, LockRequest};
use baseos_interfaces::register::{Approval, Fleet, ServerLimits};
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A deadline came. Made by the runtime from the machine's own timer table.
    Elapsed(Timer),
    /// The process was asked to stop (SIGTERM, SIGINT).
    StopRequested,
    /// An effect did not leave, because its checkpoint could not be written.
    Withheld {
        /// The operation.
        op: Option<OpId>,
        /// The request on the local API whose answer it was; it was refused instead.
        #[serde(default)]
        request: Option<RequestId>,
        /// Why the checkpoint could not be written.
        problem: String,
    },
    /// Writing the checkpoint failed, or works again (`None`).
    StateWritten {
        /// What is wrong.
        problem: Option<String>,
    },
    /// Somebody offered a join token.
    JoinTokenOffered(JoinOffer),

    /// Cloudly gave this node an identity; its token is already stored.
    Registered {
        /// Echo.
        op: OpId,
        /// The answer, without the secret.
        node: Box<Registration>,
    },
    /// Cloudly did not register this node.
    RegisterFailed {
        /// Echo.
        op: OpId,
        /// Why.
        failure: CallFailure,
    },
    /// Cloudly accepted a heartbeat.
    BeatAnswered {
        /// Echo.
        op: OpId,
        /// What it wants.
        orders: Box<Orders>,
        /// Whether it brought new credentials, and they are stored.
        credentials_stored: bool,
    },
    /// Cloudly did not accept a heartbeat.
    BeatFailed {
        /// Echo.
        op: OpId,
        /// Why.
        failure: CallFailure,
    },

    /// The poller looked at the Supervisor and something was different.
    Observed(Box<Result<SupervisorView, SupervisorError>>),
    /// The Supervisor wrote in its log that a service's process ended without having been stopped by it.
    ServiceExited {
        /// The service.
        service: String,
    },
    /// The Supervisor answered a call.
    SupervisorAnswered {
        /// Echo.
        op: OpId,
        /// What it said.
        answer: Box<Result<SupervisorAnswer, SupervisorError>>,
    },
    /// The poller looked at the host and something was different.
    HostObserved(HostFacts),
    /// The update-lock files were held or released, or not.
    LockFilesSettled {
        /// Echo.
        op: OpId,
        /// What went wrong.
        problem: Option<String>,
    },

    /// A client of the local API asked.
    LocalRequested {
        /// To be answered under this name.
        request: RequestId,
        /// What.
        call: LocalCall,
    },

    // Raised by the machine itself while it handles another event; never on the bus or in the journal.
    /// What is desired is different now.
    DesiredChanged,
    /// Consent, locks or other reasons to wait may be different now.
    ConsentChanged,
    /// The state was entered, by a transition or by resuming from a checkpoint.
    Entered,
    /// Everything has been handled: reports are written from the state the step ended in.
    StepEnded,
}

/// A registration, without the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// `node_…`.
    pub node_id: String,
    /// Whether an operator let it in.
    pub approval: Approval,
    /// Why approval is pending.
    pub approval_reason: Option<String>,
    /// Where it belongs.
    pub fleet: Option<Fleet>,
    /// When the first heartbeat is due, seconds.
    pub next_heartbeat_seconds: u32,
    /// Cloudly's limits.
    pub limits: ServerLimits,
    /// Cloudly's clock.
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
        /// The lock's name.
        name: String,
        /// Who asks.
        owner: String,
        /// For what.
        request: LockRequest,
    },
    /// `DELETE /v1/locks/{name}`.
    Unlock {
        /// The lock's name.
        name: String,
        /// Who asks.
        owner: String,
    },
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
            Self::JoinTokenOffered(_) => "joinTokenOffered",
            Self::Registered { .. } => "registered",
            Self::RegisterFailed { .. } => "registerFailed",
            Self::BeatAnswered { .. } => "beatAnswered",
            Self::BeatFailed { .. } => "beatFailed",
            Self::Observed(_) => "observed",
            Self::ServiceExited { .. } => "serviceExited",
            Self::SupervisorAnswered { .. } => "supervisorAnswered",
            Self::HostObserved(_) => "hostObserved",
            Self::LockFilesSettled { .. } => "lockFilesSettled",
            Self::LocalRequested { .. } => "localRequested",
            Self::DesiredChanged => "desiredChanged",
            Self::ConsentChanged => "consentChanged",
            Self::Entered => "entered",
            Self::StepEnded => "stepEnded",
        }
    }

    /// The operation whose result this is.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Registered { op, .. }
            | Self::RegisterFailed { op, .. }
            | Self::BeatAnswered { op, .. }
            | Self::BeatFailed { op, .. }
            | Self::SupervisorAnswered { op, .. }
            | Self::LockFilesSettled { op, .. } => Some(*op),
            Self::Withheld { op, .. } => *op,
            Self::Elapsed(_)
            | Self::StopRequested
            | Self::StateWritten { .. }
            | Self::JoinTokenOffered(_)
            | Self::Observed(_)
            | Self::ServiceExited { .. }
            | Self::HostObserved(_)
            | Self::LocalRequested { .. }
            | Self::DesiredChanged
            | Self::ConsentChanged
            | Self::Entered
            | Self::StepEnded => None,
        }
    }
}
