//! What a heartbeat reports, and what it is told.

use super::audit::{self, AuditLine};
use super::database::{Result, Storage};
use super::session_cache::Touched;
use super::targets::{self, Target};
use super::{commands, events, locks, node_status, nodes, releases, retention};
use baseos_interfaces::Timestamp;
use baseos_interfaces::command::{Command, CommandResult};
use baseos_interfaces::desired::Release;
use baseos_interfaces::heartbeat::NodeEvent;
use baseos_interfaces::status::NodeStatus;

/// What a heartbeat reports.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// With its hash.
    pub(crate) status: Option<(&'a str, &'a NodeStatus)>,
    pub(crate) events: &'a [NodeEvent],
    pub(crate) results: &'a [CommandResult],
    /// The node was found to be cloned: what is audited unless that was known.
    pub(crate) cloned: Option<AuditLine>,
}

impl Report<'_> {
    fn touches(&self, node: &str) -> Touched {
        let only_events = self.status.is_none() && self.results.is_empty() && self.cloned.is_none();
        if only_events {
            Touched::Nothing
        } else {
            Touched::Node(node.to_owned())
        }
    }
}

/// What waits for a node.
#[derive(Debug)]
pub(crate) struct Orders<T> {
    pub(crate) commands: Vec<Command>,
    /// What was made of the target.
    pub(crate) made: T,
    /// The release of the target, and the one that runs.
    pub(crate) release: Option<Release>,
    pub(crate) running: Option<Release>,
}

/// Which releases an answer needs, by their commits.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    pub(crate) release: Option<String>,
    pub(crate) running: Option<String>,
}

impl Storage {
    pub(crate) async fn report(&self, node: &str, report: Report<'_>, now: Timestamp) -> Result<()> {
        let mut tx = self.write(report.touches(node)).await?;
        locks::node(&mut tx, node).await?;
        if let Some((hash, status)) = report.status {
            node_status::put(&mut tx, node, hash, status, now).await?;
        }
        for event in report.events {
            events::append(&mut tx, node, event, now).await?;
        }
        if !report.events.is_empty() {
            retention::trim_events(&mut tx, node).await?;
        }
        for result in report.results {
            commands::set_result(&mut tx, node, result, now).await?;
        }
        if let Some(line) = report.cloned
            && nodes::find(&mut tx, node)
                .await?
                .is_some_and(|node| node.clone_suspected_at.is_none())
        {
            nodes::set_clone_suspected(&mut tx, node, Some(now)).await?;
            audit::append(&mut tx, now, &line).await?;
        }
        tx.commit().await
    }

    /// What waits for a node. `make` gets its target and says which releases are needed.
    pub(crate) async fn orders<T>(
        &self,
        node: &str,
        now: Timestamp,
        make: impl FnOnce(Option<Target>) -> (T, Needed),
    ) -> Result<Orders<T>> {
        let mut connection = self.read().await?;
        let (made, needed) = make(targets::effective(&mut connection, node).await?);
        let mut found = [None, None];
        for (commit, found) in [needed.release, needed.running].into_iter().zip(&mut found) {
            if let Some(commit) = commit {
                let record = releases::find(&mut connection, &commit).await?;
                *found = record.map(|record| record.release);
            }
        }
        let [release, running] = found;
        Ok(Orders {
            commands: commands::list_open(&mut connection, node, now).await?,
            made,
            release,
            running,
        })
    }
}
