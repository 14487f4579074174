//! The apply loop: from the present state to the target, with back-off.
//!
//! Each step is planned from the present state and the *present* target. A newer post takes effect at the next plan
//! and not before: it does not interrupt a back-off (u05-poll-good-after-bad).

use crate::supervisor::apply_state::{Apply, Step};
use crate::supervisor::changes::without_dependencies;
use crate::supervisor::container::StopReason;
use crate::supervisor::model::Supervisor;
use crate::supervisor::target::{App, Target};
use crate::supervisor::timer::Timer;
use std::time::Duration;

impl Supervisor {
    /// Begins an apply, or with `cancel` ends a back-off.
    pub(crate) fn trigger(&mut self, force: bool, cancel: bool) {
        match self.apply.step {
            Step::Idle => {
                self.apply = Apply {
                    step: Step::Planning,
                    force,
                    ..Apply::default()
                };
                let delay = self.config.timing.apply_begin;
                self.after(delay, Timer::Plan);
            }
            Step::Backoff if cancel => {
                self.cancel(|timer| *timer == Timer::Plan);
                self.apply.failures = 0;
                self.apply.force = force;
                self.apply.step = Step::Planning;
                let delay = self.config.timing.apply_begin;
                self.after(delay, Timer::Plan);
            }
            // The loop reads the target again at its next plan; the rest of this call has no effect.
            _ => {}
        }
    }

    pub(crate) fn set_target(&mut self, target: Target) {
        if let Some(name) = &target.name {
            self.name.clone_from(name);
        }
        self.target = target;
        self.target_version += 1;
    }

    pub(crate) fn plan(&mut self) {
        if self.apply.step == Step::Idle {
            return;
        }
        self.apply.step = Step::Planning;
        self.apply.planned_version = self.target_version;
        let target = self.target.clone();
        if self.begin_pulls(&target) {
            return;
        }
        let changes = self.changes(&target);
        if changes.is_empty() {
            if !self.clean_up_images(&target) {
                self.settle(&target);
            }
            return;
        }
        if let Some(lock) = self.check_locks(&target, &changes.apps, self.apply.force) {
            return self.fail_locked(&lock);
        }
        if self.apply.locked_apps.is_empty() {
            self.log_system("Taking update locks".to_owned());
        }
        self.take_locks(&target, &changes.apps);
        if !changes.removed.is_empty() {
            self.apply.step = Step::Stopping;
            for id in &changes.removed {
                self.stop(id, StopReason::Apply);
            }
            return;
        }
        self.change_volumes(&target);
        for (id, app, service) in &changes.renamed {
            if let Some(container) = self.containers.iter_mut().find(|container| container.id == *id) {
                container.image_id = service.image_id;
                container.release_id = app.release_id;
                container.commit = app.commit.clone().unwrap_or_default();
                // Its image stays, whatever the new reference names.
                container.config.image.clone_from(&service.config.image);
            }
        }
        if self.clean_up_images(&target) {
            return;
        }
        if changes.to_start.is_empty() {
            self.after(Duration::ZERO, Timer::Plan);
        } else {
            self.apply.step = Step::Starting;
            self.apply.starting = without_dependencies(changes.to_start);
            let delay = self.config.timing.start;
            self.after(delay, Timer::StartDone);
        }
    }

    pub(crate) fn start_done(&mut self) {
        let mut failed = None;
        for (app, service) in std::mem::take(&mut self.apply.starting) {
            let known = self
                .containers
                .iter()
                .find(|container| container.app_id == app.id && container.service == service.name);
            let id = known
                .map(|container| container.id.clone())
                .unwrap_or_else(|| self.create(&app, &service));
            self.log_about("Starting service", &id);
            if self.start(&id) {
                self.log_about("Started service", &id);
            } else {
                failed = Some(service.name.clone());
            }
        }
        match failed {
            Some(service) => self.fail(&format!("Failed to start service '{service}'")),
            None => {
                self.apply.step = Step::Planning;
                self.after(Duration::ZERO, Timer::Plan);
            }
        }
    }

    fn settle(&mut self, target: &Target) {
        // The name of its container cannot be parsed, so the apply never ends (observed).
        let digits = |commit: &String| commit.chars().all(|c| c.is_ascii_digit());
        if target
            .apps
            .iter()
            .any(|app| !app.services.is_empty() && app.commit.as_ref().is_some_and(digits))
        {
            return self.fail("Cannot read the container's name");
        }
        self.apply.step = Step::Settling;
        let known = |app: &App| app.commit.is_none() || app.commit.as_ref() == self.commits.get(&app.id);
        let timing = &self.config.timing;
        let (delay, timer) = if target.apps.iter().all(known) {
            (timing.finish, Timer::Finish)
        } else {
            (timing.commit, Timer::Commit)
        };
        self.after(delay, timer);
    }

    pub(crate) fn commit(&mut self) {
        if self.apply.planned_version != self.target_version {
            return self.plan();
        }
        for app in self.target.apps.clone() {
            if let Some(commit) = app.commit {
                self.commits.insert(app.id, commit);
            }
        }
        let delay = self.config.timing.finish;
        self.after(delay, Timer::Finish);
    }

    pub(crate) fn finish(&mut self) {
        if self.apply.planned_version != self.target_version {
            return self.plan();
        }
        if !self.apply.locked_apps.is_empty() {
            self.log_system("Releasing update locks".to_owned());
        }
        self.release_locks();
        self.apply.reported = true;
        let delay = self.config.timing.finish / 4;
        self.after(delay, Timer::Applied);
    }

    pub(crate) fn applied(&mut self) {
        if self.apply.planned_version != self.target_version {
            self.apply.reported = false;
            return self.plan();
        }
        self.apply = Apply::default();
        self.note("Device state apply success");
    }

    /// S3c-local-logs: the locks are taken and released again, then the log says until when it waits.
    fn fail_locked(&mut self, lock: &str) {
        let delay = self.config.timing.backoff(self.apply.failures + 1).as_secs_f64();
        self.log_system("Taking update locks".to_owned());
        self.log_system("Releasing update locks".to_owned());
        self.log_system(format!(
            "Updates are locked, retrying in {delay}s. Reason: {lock}"
        ));
        self.release_locks();
        self.fail(&format!("Updates are locked: {lock}"));
    }

    /// Locks that were taken are kept: a start that is tried again takes none (E3-e).
    pub(crate) fn fail(&mut self, error: &str) {
        let failures = self.apply.failures + 1;
        let delay = self.config.timing.backoff(failures);
        self.apply.failures = failures;
        self.apply.failed = true;
        self.apply.step = Step::Backoff;
        self.note(format!("{error}, retrying in {}ms", delay.as_millis()));
        self.after(delay, Timer::Plan);
    }
}
