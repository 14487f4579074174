//! The apply loop: from what is to what shall be, with back-off.
//!
//! One step at a time is planned from the present state and the *present* target, so a newer post takes effect at
//! the next plan, and not before: a running back-off is not interrupted by it (u05-poll-good-after-bad).

use crate::supervisor::container::ImageRow;
use crate::supervisor::engine::StopFor;
use crate::supervisor::registry::Pull;
use crate::supervisor::target::{App, Service, Target};
use crate::supervisor::work::{first_of, services};
use crate::supervisor::{Supervisor, Timer};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the apply is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Nothing: `appState` is `applied`.
    #[default]
    Idle,
    /// Looks what has to be done next.
    Planning,
    /// Fetches images.
    Pulling,
    /// Stops containers.
    Stopping,
    /// Starts containers.
    Starting,
    /// Writes the commit down.
    Settling,
    /// Waits after a failure.
    Backoff,
}

/// The state of the apply loop; lost when the Supervisor's process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apply {
    pub(crate) step: Step,
    /// Taken when the apply begins; a later post's force has no effect (u05-force).
    pub(crate) force: bool,
    /// How often it failed in a row.
    pub(crate) failures: u32,
    /// `update_failed` of /v1/device.
    pub(crate) failed: bool,
    /// `update_downloaded` of /v1/device.
    pub(crate) downloaded: bool,
    /// Done but for `appState`: `update_pending` turns first (u05-poll-good-after-bad, at 9.01).
    pub(crate) reported: bool,
    /// The target this plan was made for.
    seen: u64,
    pub(crate) pulls: Vec<PullState>,
    /// Managed: rows of images that are being deleted.
    pub(crate) deleting: Vec<ImageRow>,
    starting: Vec<(App, Service)>,
    pub(crate) locked_apps: BTreeSet<u64>,
}

/// An image that is being fetched.
#[derive(Clone, Debug)]
pub(crate) struct PullState {
    pub(crate) row: ImageRow,
    began: Duration,
    takes: Duration,
    error: Option<String>,
    done: bool,
}

impl PullState {
    pub(crate) fn percent(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.began).as_millis();
        let percent = (elapsed * 100).checked_div(self.takes.as_millis()).unwrap_or(0);
        u64::try_from(percent.min(99)).unwrap_or(99)
    }
}

impl Supervisor {
    /// A new target is there, or an apply is asked for.
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
            // The loop reads the target anew at its next plan; nothing else of this call survives.
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
        self.apply.seen = self.target_version;
        let target = self.target.clone();
        if self.begin_pulls(&target) {
            return;
        }
        let work = self.work(&target);
        if work.is_empty() {
            if !self.clean_up_images(&target) {
                self.settle(&target);
            }
            return;
        }
        if let Some(lock) = self.lock_held(&target, &work.apps) {
            return self.fail(&format!("Updates are locked: {lock}"));
        }
        self.take_locks(&target, &work.apps);
        if !work.gone.is_empty() {
            self.apply.step = Step::Stopping;
            for id in &work.gone {
                self.stop(id, StopFor::Apply);
            }
            return;
        }
        self.change_volumes(&target);
        for (id, app, service) in &work.renamed {
            if let Some(container) = self.containers.iter_mut().find(|container| container.id == *id) {
                container.image_id = service.image_id;
                container.release_id = app.release_id;
                container.commit = app.commit.clone().unwrap_or_default();
            }
        }
        if self.clean_up_images(&target) {
            return;
        }
        if work.started.is_empty() {
            self.after(Duration::ZERO, Timer::Plan);
        } else {
            self.apply.step = Step::Starting;
            self.apply.starting = first_of(work.started);
            let delay = self.config.timing.start;
            self.after(delay, Timer::StartDone);
        }
    }

    /// Fetches what is missing; rows for what is there already are only written down.
    fn begin_pulls(&mut self, target: &Target) -> bool {
        let timing = self.config.timing.clone();
        self.apply.pulls.clear();
        for (app, service) in services(target) {
            let row = ImageRow::of(app, service);
            if self.images.contains(&row.name) {
                if !self.rows.contains(&row) {
                    self.rows.push(row);
                }
                continue;
            }
            if self.apply.pulls.iter().any(|pull| pull.row.name == row.name) {
                continue;
            }
            let image = self.registry.image(&row.name);
            let whole = image.pull_time(timing.pull_bytes_per_second);
            let (time, error) = if self.registry.down {
                (timing.pull_fail, Some("connect: connection refused".to_owned()))
            } else {
                match image.pull {
                    Pull::Missing => (
                        timing.pull_fail,
                        Some("(HTTP code 404) manifest unknown".to_owned()),
                    ),
                    Pull::BreaksAt { percent, .. } => {
                        let until = whole * u32::try_from(percent.min(100)).unwrap_or(100) / 100;
                        (until, Some("write: no space left on device".to_owned()))
                    }
                    Pull::Bytes(_) | Pull::Millis(_) => (whole, None),
                }
            };
            self.tell_text(format!("Downloading image '{}'", row.name));
            self.after(time, Timer::PullDone(row.name.clone()));
            let takes = whole.max(Duration::from_millis(1));
            self.apply.pulls.push(PullState {
                row,
                began: self.now,
                takes,
                error,
                done: false,
            });
        }
        if self.apply.pulls.is_empty() {
            return false;
        }
        self.apply.step = Step::Pulling;
        self.apply.downloaded = false;
        true
    }

    pub(crate) fn pull_done(&mut self, image: &str) {
        let Some(pull) = self.apply.pulls.iter_mut().find(|pull| pull.row.name == image) else {
            return;
        };
        pull.done = true;
        if pull.error.is_none() {
            let row = pull.row.clone();
            self.tell_text(format!("Downloaded image '{}'", row.name));
            self.images.insert(row.name.clone());
            self.rows.push(row);
            self.apply.downloaded = true;
        }
        if self.apply.pulls.iter().any(|pull| !pull.done) {
            return;
        }
        let error = self.apply.pulls.iter().find_map(|pull| pull.error.clone());
        self.apply.pulls.clear();
        match error {
            Some(error) => self.fail(&format!("Failed to download image: {error}")),
            None => {
                self.apply.step = Step::Planning;
                let delay = self.config.timing.step;
                self.after(delay, Timer::Plan);
            }
        }
    }

    /// Managed: images no release needs are deleted. Local mode keeps them all (unmanaged.md §0.5). `true`: that
    /// takes its time, or a container uses one of them, which wedges the apply (shared-image-wedge).
    fn clean_up_images(&mut self, target: &Target) -> bool {
        for row in std::mem::take(&mut self.apply.deleting) {
            self.rows.retain(|known| *known != row);
            if !self.rows.iter().any(|known| known.name == row.name) {
                self.images.remove(&row.name);
            }
        }
        if !self.config.managed {
            return false;
        }
        let wanted: Vec<ImageRow> = services(target)
            .map(|(app, service)| ImageRow::of(app, service))
            .collect();
        let old: Vec<ImageRow> = self
            .rows
            .iter()
            .filter(|row| !wanted.contains(row))
            .cloned()
            .collect();
        let used = |row: &&ImageRow| {
            self.containers
                .iter()
                .any(|container| container.config.image == row.name)
        };
        if let Some(row) = old.iter().find(used) {
            let image = row.name.clone();
            self.fail(&format!(
                "(HTTP code 409) conflict - unable to remove repository reference {image}"
            ));
            return true;
        }
        let waits = !old.is_empty();
        self.apply.deleting = old;
        if waits {
            let delay = self.config.timing.stop;
            self.after(delay, Timer::Plan);
        }
        waits
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
            self.tell("Starting service", &id);
            if self.start(&id) {
                self.tell("Started service", &id);
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
        // Its container's name cannot be read back, so the loop never finds it done (supervisor.md §0.6).
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
        if self.apply.seen != self.target_version {
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
        if self.apply.seen != self.target_version {
            return self.plan();
        }
        self.release_locks();
        self.apply.reported = true;
        let delay = self.config.timing.finish / 4;
        self.after(delay, Timer::Applied);
    }

    pub(crate) fn applied(&mut self) {
        if self.apply.seen != self.target_version {
            self.apply.reported = false;
            return self.plan();
        }
        self.apply = Apply::default();
        self.say("Device state apply success");
    }

    fn fail(&mut self, error: &str) {
        let timing = &self.config.timing;
        let failures = self.apply.failures + 1;
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        let delay = timing.backoff_unit.saturating_mul(factor).min(timing.backoff_max);
        self.release_locks();
        self.apply.failures = failures;
        self.apply.failed = true;
        self.apply.step = Step::Backoff;
        self.say(format!("{error}, retrying in {}ms", delay.as_millis()));
        self.after(delay, Timer::Plan);
    }
}
