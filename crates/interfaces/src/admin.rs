//! Cloudly's admin API: `/baseos/v1/admin/…`, bearer `sza_` token.

use crate::Timestamp;
use crate::command::CommandAction;
use crate::desired::{DEFAULT_AGENT_SERVICE, Policy, Release};
use crate::register::{Approval, NodeFacts};
use crate::status::NodeStatus;
use crate::token::WireSecret;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// `POST /baseos/v1/admin/join-tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateJoinToken {
    /// How many nodes it enrols; 1 unless given.
    #[serde(default)]
    pub max_uses: Option<u32>,
    /// How long it lives, seconds; 3600 unless given.
    #[serde(default)]
    pub ttl_seconds: Option<u32>,
    /// The fleet its nodes join.
    #[serde(default)]
    pub fleet: Option<String>,
    /// Labels its nodes get.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether its nodes wait for an operator.
    #[serde(default)]
    pub require_approval: bool,
    /// Whether a node with the same hardware takes over its earlier identity and history.
    #[serde(default)]
    pub allow_replace: bool,
}

/// The answer: the only time the token is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedJoinToken {
    /// The public id.
    pub id: String,
    /// The `szj_` token.
    pub token: WireSecret,
    /// When it stops enrolling nodes, Cloudly's clock.
    pub expires_at: Timestamp,
    /// How many nodes it enrols.
    pub max_uses: u32,
}

/// `GET /baseos/v1/admin/join-tokens` (each): a join token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenRecord {
    /// The public id.
    pub id: String,
    /// How many nodes it enrols.
    pub max_uses: u32,
    /// How many uses are taken.
    pub uses: u32,
    /// The fleet its nodes join.
    pub fleet: Option<String>,
    /// Labels its nodes get.
    pub labels: BTreeMap<String, String>,
    /// Whether its nodes wait for an operator.
    pub require_approval: bool,
    /// Whether a node with the same hardware takes over its earlier identity and history.
    pub allow_replace: bool,
    /// When it was made, Cloudly's clock.
    pub created_at: Timestamp,
    /// An admin token's id, or `configuration`.
    pub created_by: String,
    /// When it stops enrolling nodes, Cloudly's clock.
    pub expires_at: Timestamp,
    /// When an operator revoked it, Cloudly's clock; `null`: not revoked.
    pub revoked_at: Option<Timestamp>,
}

/// `POST /baseos/v1/admin/releases`: an app release. It has to keep to the rules of [`crate::rules`]; Cloudly gives it its
/// id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateRelease {
    /// The balena commit: 7 to 64 hex digits, lower case, at least one letter.
    pub commit: String,
    /// For people, e.g. `1.13.0`; 1 to 64 characters.
    #[serde(default)]
    pub version: Option<String>,
    /// Which service is the agent; missing: [`DEFAULT_AGENT_SERVICE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_service: Option<String>,
    /// By service name; the agent's own is among them.
    pub services: BTreeMap<String, crate::desired::Service>,
    /// Named volumes and their definitions (compose form).
    #[serde(default)]
    pub volumes: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
    /// Networks and their definitions (compose form).
    #[serde(default)]
    pub networks: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
}

/// What a release was created with.
impl From<Release> for CreateRelease {
    fn from(release: Release) -> Self {
        let Release {
            release_id: _,
            commit,
            version,
            agent_service,
            services,
            volumes,
            networks,
        } = release;
        Self {
            commit,
            version,
            agent_service,
            services,
            volumes,
            networks,
        }
    }
}

impl CreateRelease {
    /// The name of the service that is the agent.
    pub fn agent_service(&self) -> &str {
        self.agent_service.as_deref().unwrap_or(DEFAULT_AGENT_SERVICE)
    }

    /// The release that is created, under the id that Cloudly gives it.
    pub fn into_release(self, release_id: String) -> Release {
        let Self {
            commit,
            version,
            agent_service,
            services,
            volumes,
            networks,
        } = self;
        Release {
            release_id,
            commit,
            version,
            agent_service,
            services,
            volumes,
            networks,
        }
    }
}

/// A release as Cloudly keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// As nodes get it.
    #[serde(flatten)]
    pub release: Release,
    /// When it was created, Cloudly's clock.
    pub created_at: Timestamp,
}

/// `PUT /baseos/v1/admin/desired` (all nodes) or `/baseos/v1/admin/nodes/{id}/desired` (one node).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetDesired {
    /// The commit of a release Cloudly knows; `null`: nothing is desired.
    pub commit: Option<String>,
    /// When and how it may be applied, in full. Missing: the policy that counts there is kept, without its force.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// How long `policy.force` holds, seconds; [`FORCE_TTL_SECONDS`] unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_ttl_seconds: Option<u32>,
}

/// How long an order to go ahead holds unless it is said, seconds.
pub const FORCE_TTL_SECONDS: u32 = 86_400;
/// The longest that it may hold, seconds.
pub const FORCE_TTL_MAX_SECONDS: u32 = 30 * 86_400;

/// `null` is no policy: it could mean the kept one or the default one.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    Policy::deserialize(deserializer).map(Some)
}

/// The answer: the revision that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSet {
    /// Rises with every change.
    pub revision: u64,
}

/// `GET /baseos/v1/admin/desired` or `/baseos/v1/admin/nodes/{id}/desired`: what counts there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredRecord {
    /// The revision that carries it; 0: nothing was ever desired.
    pub revision: u64,
    /// Whether it is the node's own; `false`: it is the one for all nodes.
    pub own: bool,
    /// The commit; `null`: nothing is desired.
    pub commit: Option<String>,
    /// When and how it may be applied.
    pub policy: Policy,
    /// When it was set, Cloudly's clock; `null`: nothing was ever desired.
    pub set_at: Option<Timestamp>,
    /// The id of the admin token it was set with; `null`: nothing was ever desired.
    pub set_by: Option<String>,
}

/// `GET /baseos/v1/admin/nodes/{id}/events` (each): a node's event as Cloudly keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Rises with each event that Cloudly keeps, of whatever node.
    pub sequence: u64,
    /// When it came, Cloudly's clock.
    pub received_at: Timestamp,
    /// As the node reported it.
    pub event: crate::heartbeat::NodeEvent,
}

/// Whether a node is there, as Cloudly judges it (contract §4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PresenceState {
    /// The next heartbeat is not due yet.
    Online,
    /// The next heartbeat is a little overdue.
    Late,
    /// The next heartbeat is well overdue, or the node said goodbye.
    Offline,
    /// Cloudly has not been up long enough to judge.
    Unknown,
}

/// A node, as another one's record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReference {
    /// `node_…`.
    pub id: String,
    /// For people; need not be unique.
    pub name: String,
}

/// `GET /baseos/v1/admin/nodes` (each) and `/baseos/v1/admin/nodes/{id}`. What can be missing was added later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// `node_…`.
    pub id: String,
    /// For people; need not be unique.
    pub name: String,
    /// What it said of itself at registration.
    pub facts: NodeFacts,
    /// For operators: those of its join token, and its own where the token has none.
    pub labels: BTreeMap<String, String>,
    /// Whether an operator let it in.
    pub approval: Approval,
    /// Why approval is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_reason: Option<String>,
    /// The node that has the same hardware, where that is why approval is pending; missing: there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_hardware: Option<NodeReference>,
    /// `active`, `suspended` or `removed`.
    pub lifecycle: String,
    /// Whether two agents seem to use its identity.
    pub clone_suspected: bool,
    /// Whether it keeps its promise to be heard from.
    pub presence: PresenceState,
    /// When its last heartbeat came, Cloudly's clock; `null`: none came yet.
    pub last_seen_at: Option<Timestamp>,
    /// When its next heartbeat is due, Cloudly's clock; missing: none is, since none came yet, it said goodbye, or it is
    /// not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_heartbeat_at: Option<Timestamp>,
    /// When a heartbeat was refused last because it is not active, Cloudly's clock; missing: none since Cloudly's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refused_at: Option<Timestamp>,
    /// When it first registered, Cloudly's clock.
    pub enrolled_at: Timestamp,
    /// The revision it is meant to work on.
    pub desired_revision: u64,
    /// The revision it works on.
    pub observed_revision: u64,
    /// The commit it is meant to run; `null`: none.
    pub desired_commit: Option<String>,
    /// Whether what is desired of it is its own setting; `false`: it is the one for all nodes.
    #[serde(default)]
    pub desired_own: bool,
    /// When that was set, Cloudly's clock; missing: nothing was ever desired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_set_at: Option<Timestamp>,
    /// Its last full status; `null`: none came yet.
    pub status: Option<NodeStatus>,
    /// Cloudly's clock when this was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
}

/// `GET /baseos/v1/admin/refused-nodes` (each): a device whose node token is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedNode {
    /// The public part of its token.
    pub token_id: String,
    /// Where its last heartbeat came from.
    pub address: String,
    /// When it was refused first since Cloudly's start, Cloudly's clock.
    pub first_at: Timestamp,
    /// When it was refused last, Cloudly's clock.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

/// `POST /baseos/v1/admin/nodes/{id}/commands`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateCommand {
    /// What to do.
    #[serde(flatten)]
    pub action: CommandAction,
    /// How long it may wait to be begun, seconds; 3600 unless given.
    #[serde(default)]
    pub ttl_seconds: Option<u32>,
}

/// A command as Cloudly keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandRecord {
    /// `cmd_…`.
    pub id: String,
    /// What to do.
    #[serde(flatten)]
    pub action: CommandAction,
    /// When it was created, Cloudly's clock.
    pub issued_at: Timestamp,
    /// Not to be begun after this, Cloudly's clock.
    pub expires_at: Timestamp,
    /// As the node reported it; `null`: not yet.
    pub result: Option<crate::command::CommandResult>,
}

/// One line of the append-only audit log: `GET /baseos/v1/admin/audit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Rises with each line.
    pub sequence: u64,
    /// When it happened, Cloudly's clock.
    pub at: Timestamp,
    /// Who did it: an admin token's id, a node's id, `configuration`, or `cloudly`.
    pub actor: String,
    /// What was done, e.g. `node.registered`, `joinToken.refused`.
    pub action: String,
    /// The id of what it was done to: a node, a join token, a release; `null`: of nothing that Cloudly knows.
    pub subject: Option<String>,
    /// Details, which depend on the action; never a secret.
    pub data: serde_json::Value,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries, in the order of the list.
    pub items: Vec<T>,
    /// The `cursor` of the next page; `null`: that was all.
    pub next: Option<String>,
}
