//! `cloudly export`: what operators have set up, as a file that `cloudly apply` takes.

use super::client::{Client, segment};
use super::output::{self, Outcome};
use baseos_interfaces::admin::{CreateRelease, DesiredRecord, JoinTokenRecord, NodeRecord, ReleaseRecord};
use baseos_interfaces::desired::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::error::Error;

/// The form of the file.
pub(super) const FORM: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Export {
    pub(super) cloudly_export: u32,
    /// The first one first.
    #[serde(default)]
    pub(super) releases: Vec<CreateRelease>,
    #[serde(default)]
    pub(super) desired: Desired,
    /// For people: their secrets are known to nobody, so they are not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) join_tokens: Vec<Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Desired {
    /// Missing: nothing was ever desired of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<Setting>,
    /// Of nodes with a setting of their own.
    #[serde(default)]
    pub(super) nodes: Vec<NodeSetting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Setting {
    /// `null`: nothing is desired.
    pub(super) commit: Option<String>,
    /// Without an order to go ahead, which is for once. Missing: it is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Policy>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSetting {
    /// Id or name.
    pub(super) node: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(flatten)]
    pub(super) setting: Setting,
}

impl Setting {
    /// `None`: nothing was ever desired.
    pub(super) fn of(record: DesiredRecord) -> Option<Self> {
        record.set_at?;
        let policy = Policy {
            force: None,
            ..record.policy
        };
        Some(Self {
            commit: record.commit,
            policy: Some(policy),
        })
    }
}

pub(super) async fn run(client: &Client) -> Outcome {
    let mut releases: Vec<ReleaseRecord> = client.all("releases").await?;
    releases.reverse();
    let releases = releases.into_iter().map(|record| record.release.into());
    let tokens: Vec<JoinTokenRecord> = client.all("join-tokens").await?;
    output::json(&Export {
        cloudly_export: FORM,
        releases: releases.collect(),
        desired: Desired {
            all: Setting::of(client.get("desired").await?),
            nodes: nodes(client).await?,
        },
        join_tokens: tokens
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?,
    })
}

/// Settings of nodes that have one of their own.
async fn nodes(client: &Client) -> Result<Vec<NodeSetting>, Box<dyn Error>> {
    let nodes: Vec<NodeRecord> = client.all("nodes").await?;
    let mut settings = Vec::new();
    for node in nodes {
        let path = format!("nodes/{}/desired", segment(&node.id)?);
        let record: DesiredRecord = client.get(&path).await?;
        if !record.own {
            continue;
        }
        settings.extend(Setting::of(record).map(|setting| NodeSetting {
            node: node.id,
            name: Some(node.name),
            setting,
        }));
    }
    Ok(settings)
}
