//! Effects: requests to the world, imperative. The runtime dispatches each to the port that performs it.

use crate::lifecycle::supervisor_target::LocalTarget;
use baseos_interfaces::Timestamp;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::local::{
    CloudlyStatus, Doctor, Handshake, LocalStatus, Lock, Locks, Notice, UpdateAnswer,
};
use baseos_interfaces::problem::Problem;
use baseos_interfaces::register::NodeFacts;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Names one operation. Rises for ever: the upper half counts starts of the agent (and is in the checkpoint),
/// the lower half counts within the run. Results echo it, so a stale one is found by comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u64);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Names one request on the local API, until it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A neighbour that performs effects, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Port {
    /// Cloudly, over HTTPS.
    Cloudly,
    /// The local Supervisor, over HTTP.
    Supervisor,
    /// balena's update-lock files.
    LockFiles,
    /// The local API's clients.
    LocalApi,
    /// The state file's secrets.
    Vault,
    /// The agent's own process.
    Process,
}

/// How often the Supervisor is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PollRate {
    /// Nothing is under way.
    #[default]
    Slow,
    /// An update or a command is under way, or the Supervisor is at work.
    Fast,
}

/// A call to the Supervisor. At most one is under way; the machine queues the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum SupervisorCall {
    /// Read its state and its target.
    Inspect,
    /// Hand it a new target (unmanaged).
    ApplyTarget {
        target: Box<LocalTarget>,
        /// Override update locks; an audited order.
        force: bool,
    },
    /// Tell it to ask its backend now (managed).
    TriggerUpdate {
        /// Override update locks; an audited order.
        force: bool,
    },
    /// Restart all containers of the app, overriding locks and ending the Supervisor's back-off: last resort.
    RestartApp { app_id: u64 },
    /// Restart one service.
    RestartService { app_id: u64, service: String },
    /// Stop one service.
    StopService { app_id: u64, service: String },
    /// Start one service whose container exists.
    StartService { app_id: u64, service: String },
    /// Reboot the device; locks are honoured.
    Reboot,
    /// Read the device's last log lines.
    CollectLogs { lines: u32 },
}

/// One request to the world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Effect {
    /// Ask Cloudly for an identity. The adapter adds the join token and stores the node token it gets.
    Register {
        op: OpId,
        /// The join token to use.
        token: TokenId,
        /// Kept until enrolled.
        registration_id: RegistrationId,
        /// What the node says of itself.
        node: Box<NodeFacts>,
        labels: BTreeMap<String, String>,
    },
    /// Send a heartbeat. The adapter adds the node token and stores new credentials it gets.
    Heartbeat { op: OpId, heartbeat: Box<Heartbeat> },
    /// Which times count for Cloudly's certificate from now on; `None`: the wall clock's, else any since then too.
    SetCertificateTimes { since: Option<Timestamp> },
    /// Ask something of the Supervisor.
    Supervisor { op: OpId, call: SupervisorCall },
    /// Look at the Supervisor so often from now on.
    SetPollRate { rate: PollRate },
    /// Create and flock both update-lock files, or adopt those that are ours already.
    HoldLockFiles {
        op: OpId,
        /// Who holds leases; written into the files for people.
        holders: Vec<String>,
    },
    /// Remove the update-lock files that are ours.
    ReleaseLockFiles { op: OpId },
    /// Answer a request on the local API.
    Reply {
        request: RequestId,
        answer: Box<LocalAnswer>,
    },
    /// Tell the clients of the local API's event stream.
    Publish { notice: Box<Notice> },
    /// The identity is confirmed: never use this join token again.
    ForgetJoinToken { token: TokenId },
    /// End the process; everything is parked.
    Stop,
}

impl Effect {
    /// The neighbour that performs it.
    pub fn port(&self) -> Port {
        match self {
            Self::Register { .. } | Self::Heartbeat { .. } | Self::SetCertificateTimes { .. } => {
                Port::Cloudly
            }
            Self::Supervisor { .. } | Self::SetPollRate { .. } => Port::Supervisor,
            Self::HoldLockFiles { .. } | Self::ReleaseLockFiles { .. } => Port::LockFiles,
            Self::Reply { .. } | Self::Publish { .. } => Port::LocalApi,
            Self::ForgetJoinToken { .. } => Port::Vault,
            Self::Stop => Port::Process,
        }
    }

    /// The operation whose result will come back, for effects that have one.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Register { op, .. }
            | Self::Heartbeat { op, .. }
            | Self::Supervisor { op, .. }
            | Self::HoldLockFiles { op, .. }
            | Self::ReleaseLockFiles { op } => Some(*op),
            Self::SetPollRate { .. }
            | Self::SetCertificateTimes { .. }
            | Self::Reply { .. }
            | Self::Publish { .. }
            | Self::ForgetJoinToken { .. }
            | Self::Stop => None,
        }
    }

    /// The request on the local API it answers.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Reply { request, .. } => Some(*request),
            _ => None,
        }
    }

    /// Whether it may leave only after the checkpoint that knows of it is safely on disk. With a full disk the
    /// agent goes on reporting and answering, but begins nothing it could forget.
    pub fn needs_checkpoint(&self) -> bool {
        match self {
            Self::Register { .. } => true,
            Self::Supervisor { call, .. } => match call {
                SupervisorCall::Inspect | SupervisorCall::CollectLogs { .. } => false,
                SupervisorCall::ApplyTarget { .. }
                | SupervisorCall::TriggerUpdate { .. }
                | SupervisorCall::RestartApp { .. }
                | SupervisorCall::RestartService { .. }
                | SupervisorCall::StopService { .. }
                | SupervisorCall::StartService { .. }
                | SupervisorCall::Reboot => true,
            },
            Self::Reply { answer, .. } => matches!(**answer, LocalAnswer::Lock(_)),
            Self::Heartbeat { .. }
            | Self::SetCertificateTimes { .. }
            | Self::SetPollRate { .. }
            | Self::HoldLockFiles { .. }
            | Self::ReleaseLockFiles { .. }
            | Self::Publish { .. }
            | Self::ForgetJoinToken { .. }
            | Self::Stop => false,
        }
    }

    /// A short name for logs and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "Register",
            Self::Heartbeat { heartbeat, .. } if heartbeat.goodbye => "Heartbeat(goodbye)",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::SetCertificateTimes { .. } => "SetCertificateTimes",
            Self::Supervisor { call, .. } => match call {
                SupervisorCall::Inspect => "Inspect",
                SupervisorCall::ApplyTarget { .. } => "ApplyTarget",
                SupervisorCall::TriggerUpdate { .. } => "TriggerUpdate",
                SupervisorCall::RestartApp { .. } => "RestartApp",
                SupervisorCall::RestartService { .. } => "RestartService",
                SupervisorCall::StopService { .. } => "StopService",
                SupervisorCall::StartService { .. } => "StartService",
                SupervisorCall::Reboot => "Reboot",
                SupervisorCall::CollectLogs { .. } => "CollectLogs",
            },
            Self::SetPollRate { rate: PollRate::Slow } => "SetPollRate(slow)",
            Self::SetPollRate { rate: PollRate::Fast } => "SetPollRate(fast)",
            Self::HoldLockFiles { .. } => "HoldLockFiles",
            Self::ReleaseLockFiles { .. } => "ReleaseLockFiles",
            Self::Reply { .. } => "Reply",
            Self::Publish { .. } => "Publish",
            Self::ForgetJoinToken { .. } => "ForgetJoinToken",
            Self::Stop => "Stop",
        }
    }
}

/// The answer to a request on the local API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum LocalAnswer {
    /// 200.
    Handshake(Handshake),
    /// 200.
    Status(Box<LocalStatus>),
    /// 200.
    Update(UpdateAnswer),
    /// 200: the lock is held by the caller.
    Lock(Lock),
    /// 204: the lock is gone.
    Unlocked,
    /// 200.
    Locks(Locks),
    /// 200.
    Doctor(Doctor),
    /// 202: the join token is taken up.
    Joining(CloudlyStatus),
    /// The problem's own status.
    Problem(Problem),
}
