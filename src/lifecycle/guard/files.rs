//! The files in the state directory through which the agent and the guard speak. Each has one writer, which replaces it
//! atomically; what a reader does not know it ignores. An agent and a guard of different versions read each other's.

use crate::lifecycle::time::Millis;
use baseos_interfaces::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Written by the agent.
pub const ORDERS: &str = "guard-orders.json";
/// Written by the guard.
pub const REPORT: &str = "guard-report.json";

/// What the agent orders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Orders {
    /// What to put back.
    pub proven: Option<Proven>,
    /// The trial under way; `None`: there is none.
    pub trial: Option<Trial>,
    /// The last trial that the agent ended.
    pub over: Option<Over>,
    /// The last trial whose end by the guard the agent has taken note of.
    pub noted: u64,
}

/// The target of the release that has proved itself last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proven {
    pub commit: String,
    /// The body of `POST /v2/local/target-state`. It may hold secrets of services.
    pub target: Value,
}

/// A release whose agent has to prove itself. One that lacks a member is none: the guard would act on it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Rises with every trial.
    pub number: u64,
    pub commit: String,
    /// The agent's service.
    pub agent_service: String,
    /// The image id that the agent's container of this release has.
    pub image_id: u64,
    /// The container of the agent that began the trial: while it exists, the new agent does not run.
    #[serde(default)]
    pub old_container: Option<String>,
    /// How long the new agent may take from the moment its container runs.
    pub budget_seconds: u32,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Over {
    pub number: u64,
    /// The release it was about.
    pub commit: String,
    /// The new agent has proved itself; else the release was given up.
    pub proved: bool,
}

/// What the guard knows and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Of the guard's program.
    pub version: String,
    /// The boot in which it was written.
    pub boot_id: String,
    /// What it would put back. A copy, so that a new agent that damages the orders does not matter.
    pub held: Option<Proven>,
    /// The Supervisor is managed: its backend decides, the guard does nothing.
    pub managed: bool,
    /// The trial it watches.
    pub watched: Option<Watched>,
    /// The last release it put back.
    pub restored: Option<Restored>,
}

/// A trial as the guard sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    pub trial: Trial,
    /// Since when the old agent's container is gone, boot-time clock of the report's boot; `None`: it still runs.
    pub replaced_since: Option<Millis>,
    /// Since when the Supervisor has not answered, on the same clock: that time is not the new agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Millis>,
    /// Boots of the device since then.
    pub boots: u32,
}

/// That the guard puts the proven release back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The trial that failed.
    pub number: u64,
    /// The release that was on trial.
    pub commit: String,
    /// The release that is put back.
    pub to: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// Device's clock.
    pub at: Timestamp,
    /// Whether the Supervisor has taken the target.
    pub accepted: bool,
    /// Whether the agent has taken note of it. Until then the guard keeps the target in place.
    #[serde(default)]
    pub noted: bool,
}
