//! Images: fetching what a target needs, and deleting what it does not.

use crate::supervisor::apply_state::{ImagePull, Step};
use crate::supervisor::container::ImageRow;
use crate::supervisor::image_store::image_id;
use crate::supervisor::model::Supervisor;
use crate::supervisor::pull_failures::{connection_refused, manifest_unknown, no_space};
use crate::supervisor::registry::Pull;
use crate::supervisor::target::Target;
use crate::supervisor::timer::Timer;
use std::time::Duration;

/// How soon a stalled pull notices that it gets on.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Supervisor {
    /// Fetches what is missing; images that are there already only get a row. `false`: nothing is missing.
    pub(crate) fn begin_pulls(&mut self, target: &Target) -> bool {
        let timing = self.config.timing.clone();
        self.apply.pulls.clear();
        for (app, service) in target.services() {
            let mut row = ImageRow::of(app, service);
            if let Some(present) = self.images.find(&row.name) {
                row.docker_image_id.clone_from(&present.id);
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
                (timing.pull_fail, Some(connection_refused(&row.name)))
            } else {
                match image.pull {
                    Pull::Missing => (timing.pull_fail, Some(manifest_unknown(&row.name))),
                    Pull::BreaksAt { percent, .. } => {
                        let until = whole * u32::try_from(percent.min(100)).unwrap_or(100) / 100;
                        (until, Some(no_space()))
                    }
                    Pull::Bytes(_) | Pull::Millis(_) => (whole, None),
                }
            };
            let paused = self.pull_failures.is_pausing(&row.name, self.now, &timing);
            let (time, error) = if paused {
                (Duration::ZERO, Some("too early after a failure".to_owned()))
            } else {
                self.log_system(format!("Downloading image '{}'", row.name));
                (time, error)
            };
            self.after(time, Timer::PullDone(row.name.clone()));
            let takes = whole.max(Duration::from_millis(1));
            self.apply.pulls.push(ImagePull {
                row,
                began: self.now,
                takes,
                error,
                paused,
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
        if self.registry.stalled {
            self.after(LOOK_AGAIN, Timer::PullDone(image.to_owned()));
            return;
        }
        let Some(pull) = self.apply.pulls.iter_mut().find(|pull| pull.row.name == image) else {
            return;
        };
        pull.done = true;
        let (mut row, error, paused) = (pull.row.clone(), pull.error.clone(), pull.paused);
        match error {
            None => {
                self.log_system(format!("Downloaded image '{}'", row.name));
                self.pull_failures.succeeded(&row.name);
                row.docker_image_id = self.registry.image_id(&row.name);
                self.images.insert(&row.name, row.docker_image_id.clone());
                self.rows.push(row);
                self.apply.downloaded = true;
            }
            Some(error) if !paused => {
                self.log_system_error(format!(
                    "Failed to download image '{}' due to '{error}'",
                    row.name
                ));
                self.pull_failures.failed(&row.name, self.now);
            }
            Some(_) => {}
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

    /// `docker pull` by hand: a tag on the engine leads to another image. Containers and the Supervisor's rows stay as
    /// they are (with-agent, E4).
    pub fn move_tag(&mut self, reference: &str, content: &str) {
        self.images.insert(reference, image_id(content));
    }

    /// Managed: deletes the images that the target does not need; in local mode all are kept. `true`: it takes time,
    /// or failed because a container uses one of them, which then happens at every plan (observed).
    pub(crate) fn clean_up_images(&mut self, target: &Target) -> bool {
        for row in std::mem::take(&mut self.apply.deleting) {
            self.rows.retain(|known| *known != row);
            if !self.rows.iter().any(|known| known.name == row.name) {
                self.images.remove(&row.name);
            }
        }
        if !self.config.managed {
            return false;
        }
        let wanted: Vec<ImageRow> = target
            .services()
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
}
