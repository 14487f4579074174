//! What must be true after every test.

use crate::fixture::{Fixture, LIMIT};
use crate::target_posts::posted_twice;
use baseos_interfaces::admin::NodeRecord;
use baseos_simulator::harness::{Error, Result, ensure, stored_node_id, wait_until};
use baseos_simulator::json::Json;

impl Fixture {
    /// The identity is kept, lock files and leases agree, nothing was posted twice without a look in between, and Cloudly
    /// shows what the device runs.
    pub(crate) async fn check_consistency(&self) -> Result<()> {
        let node = wait_until("Cloudly shows what the device runs", LIMIT, async || {
            let node = self.node().await.map_err(|error| error.to_string())?;
            self.compare_with_device(&node).map(|()| node)
        })
        .await?;
        let stored = stored_node_id(&self.state_dir())?;
        if stored != node.id {
            return Err(Error::new(format!(
                "Cloudly has {}, the disk has {stored}",
                node.id
            )));
        }
        let leases = self.agent.locks().await?.locks;
        let files = self.lock_files();
        if leases.is_empty() != files.is_empty() {
            return Err(Error::new(format!("leases {leases:?}, but lock files {files:?}")));
        }
        match posted_twice(&self.device.requests()) {
            None => Ok(()),
            Some(commit) => Err(Error::new(format!(
                "{commit} was posted twice without a look in between"
            ))),
        }
    }

    pub(crate) async fn assert_consistent(&self) {
        // The Supervisor may just be at work, with its own lock files.
        let consistent = wait_until("everything agrees", LIMIT, async || {
            self.check_consistency().await.map_err(|error| error.to_string())
        });
        if let Err(error) = consistent.await {
            panic!("{error}\n{}", self.diagnostics());
        }
    }

    /// The difference between the device and Cloudly's record of it.
    fn compare_with_device(&self, node: &NodeRecord) -> std::result::Result<(), String> {
        let device = self.device.status();
        let status = node.status.as_ref().ok_or("no status")?;
        let release = status.release.as_ref().ok_or("no release is known")?;
        let running = device.get("release").and_then(Json::as_str);
        ensure(release.running.as_deref() == running, || {
            format!("{running:?} runs, Cloudly has {:?}", release.running)
        })?;
        for row in device.get("containers").map(Json::items).unwrap_or_default() {
            let text = |name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default();
            let (service, status) = (text("serviceName"), text("status"));
            let reported = release.services.get(service).map(|service| &service.status);
            ensure(reported.is_some_and(|reported| reported == status), || {
                format!("{service} is {status}, Cloudly has {reported:?}")
            })?;
        }
        Ok(())
    }
}
