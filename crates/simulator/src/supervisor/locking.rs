//! The apply's and the calls' view of update locks.

use crate::supervisor::Supervisor;
use crate::supervisor::target::Target;
use crate::supervisor::work::services;
use std::collections::BTreeSet;

impl Supervisor {
    /// The first lock that stands in the way, in the Supervisor's words. Force and the configuration's override
    /// remove the files instead.
    pub(crate) fn lock_held(&mut self, target: &Target, apps: &BTreeSet<u64>) -> Option<String> {
        let force = self.apply.force || self.lock_override();
        for (app, service) in self.lockable(target, apps) {
            if self.locks.held(app, &service) {
                if !force {
                    return Some(lock_message(app, &service));
                }
                self.locks.remove(app, &service);
            }
        }
        None
    }

    pub(crate) fn take_locks(&mut self, target: &Target, apps: &BTreeSet<u64>) {
        for (app, service) in self.lockable(target, apps) {
            self.locks.take(app, &service);
            self.apply.locked_apps.insert(app);
        }
    }

    /// All services of an app are locked before one of them is touched.
    pub(crate) fn lockable(&self, target: &Target, apps: &BTreeSet<u64>) -> BTreeSet<(u64, String)> {
        let wanted = services(target).map(|(app, service)| (app.id, service.name.clone()));
        let present = self
            .containers
            .iter()
            .map(|container| (container.app_id, container.service.clone()));
        wanted
            .chain(present)
            .filter(|(app, _)| apps.contains(app))
            .collect()
    }

    /// `SUPERVISOR_OVERRIDE_LOCK` in the target's configuration.
    pub(crate) fn lock_override(&self) -> bool {
        self.target.config.iter().any(|(name, value)| {
            name.trim_start_matches("BALENA_").trim_start_matches("RESIN_") == "SUPERVISOR_OVERRIDE_LOCK"
                && (value == "1" || value == "true")
        })
    }

    pub(crate) fn release_locks(&mut self) {
        for app in std::mem::take(&mut self.apply.locked_apps) {
            self.locks.release(app);
        }
    }
}

pub(crate) fn lock_message(app: u64, service: &str) -> String {
    format!("Lockfile exists for {{ appId: {app}, service: {service} }}")
}
