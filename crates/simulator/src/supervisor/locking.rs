//! Update locks, as the apply loop and the calls use them.

use crate::supervisor::model::Supervisor;
use crate::supervisor::target::Target;
use std::collections::BTreeSet;

impl Supervisor {
    /// The Supervisor's message about the first lock that is in the way. Force and the configuration's override remove
    /// the files instead.
    pub(crate) fn check_locks(
        &mut self,
        target: &Target,
        apps: &BTreeSet<u64>,
        force: bool,
    ) -> Option<String> {
        let force = force || self.lock_override();
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

    /// All services of an app are locked before one of them is changed.
    fn lockable(&self, target: &Target, apps: &BTreeSet<u64>) -> BTreeSet<(u64, String)> {
        let wanted = target
            .services()
            .map(|(app, service)| (app.id, service.name.clone()));
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
    fn lock_override(&self) -> bool {
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

fn lock_message(app: u64, service: &str) -> String {
    format!("Lockfile exists for {{ appId: {app}, service: {service} }}")
}
