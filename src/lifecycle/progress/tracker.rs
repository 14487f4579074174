//! Keeps what the Supervisor's log and state say of its present target.

use crate::lifecycle::facts::{AppState, SupervisorError, SupervisorView};
use crate::lifecycle::progress::fact::{LogFact, PullFailure};
use crate::lifecycle::time::{Millis, Stamp};
use baseos_interfaces::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Images, and services, that are kept at most; a release has fewer.
const KEPT: usize = 32;
/// A pull that is tried again counts as going on when it has lasted this long and got further than the one that failed.
const GOING_ON: Duration = Duration::from_secs(10);
/// The Supervisor's longest pause between two attempts (observed).
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);
/// How often a start is seen to fail, and for how long, before the attempt ends. The Supervisor's pauses double from one
/// second (observed: e3-log-start-fails), so these are about nine tries; what a start may wait for (a port, a device that
/// another container gives back) is there long before.
const STARTS_MIN: u32 = 3;
const START_PATIENCE: Duration = Duration::from_secs(300);
/// What an estimated end of a pause may be off: the poll interval and the work of an attempt.
const BACKOFF_MARGIN: Duration = Duration::from_secs(30);

/// Found out again by a new process, so it is not in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tracker {
    /// By image, what failed and is not known to be over.
    pulls: BTreeMap<String, Pull>,
    lock: Option<Lock>,
    /// By service, starts that were not followed by `Started`.
    starts: BTreeMap<String, Start>,
    /// The pause of an earlier target, which the present one has to wait out.
    pub(super) backoff: Option<Backoff>,
    /// Whether the log is read.
    attached: bool,
    /// Whether the last line that was read says that the Supervisor works on a step, and not that one failed.
    at_work: bool,
    /// Since when the Supervisor says that a step fails.
    failing: Option<Failing>,
    /// The highest download progress since an image was completed.
    percent: u8,
    /// The containers and the release at the last look.
    seen: Option<Seen>,
    /// When something last got on.
    advanced: Millis,
    /// Whether the Supervisor has changed a container for the present target.
    changing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pull {
    pub(super) failed: Option<PullTrouble>,
    /// When the try under way began.
    began: Option<Millis>,
}

/// A pull that failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PullTrouble {
    pub(super) failure: PullFailure,
    /// Of the first failure of this kind; later ones may differ in numbers that mean nothing.
    pub(super) message: String,
    pub(super) since: Timestamp,
    /// When it failed last.
    last: Millis,
    /// How far the tries got.
    percent: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lock {
    pub(super) service: Option<String>,
    pub(super) since: Timestamp,
    /// When the Supervisor tries again.
    pub(super) until: Millis,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) since: Timestamp,
    /// When the first try began.
    began: Millis,
    tries: u32,
}

/// A pause of the Supervisor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    pub(super) since: Timestamp,
    /// At the latest.
    pub(super) until: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Failing {
    pub(super) since: Timestamp,
    began: Millis,
    /// Whether its beginning was seen, not found.
    from_the_start: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    release: Option<String>,
    containers: Vec<(String, u64, String)>,
    idle: bool,
}

impl Tracker {
    /// Takes in a line of the log.
    pub(crate) fn hear(&mut self, fact: &LogFact, now: Stamp) {
        self.at_work = !matches!(
            fact,
            LogFact::Opened | LogFact::Lost | LogFact::PullFailed { .. } | LogFact::Locked { .. }
        );
        match fact {
            LogFact::Opened => self.attached = true,
            LogFact::Lost => self.attached = false,
            LogFact::PullBegan { image } => {
                self.got_past_backoff();
                if let Some(pull) = self.pull(image) {
                    pull.began = Some(now.boot);
                }
            }
            LogFact::PullDone { image } => {
                self.got_past_backoff();
                self.pulls.remove(image);
                self.percent = 0;
                self.advanced = now.boot;
            }
            LogFact::PullFailed {
                image,
                failure,
                message,
            } => {
                self.got_past_backoff();
                self.pull_failed(image, *failure, message, now);
            }
            LogFact::Locked {
                service,
                retry_millis,
            } => {
                self.got_past_backoff();
                let before = self.lock.take().filter(|lock| lock.service == *service);
                self.lock = Some(Lock {
                    service: service.clone(),
                    since: before.map_or(now.wall, |lock| lock.since),
                    until: now.boot + Duration::from_millis(*retry_millis),
                });
            }
            LogFact::Stopping { service } => {
                self.got_past_locks();
                self.starts.remove(service);
                self.advanced = now.boot;
            }
            LogFact::Starting { service } => {
                self.got_past_locks();
                if self.starts.len() < KEPT || self.starts.contains_key(service) {
                    let start = self.starts.entry(service.clone()).or_insert(Start {
                        since: now.wall,
                        began: now.boot,
                        tries: 0,
                    });
                    start.tries = start.tries.saturating_add(1);
                }
            }
            LogFact::Started { service } => {
                self.got_past_locks();
                self.starts.remove(service);
                self.advanced = now.boot;
            }
        }
    }

    /// Takes in a look at the Supervisor's state.
    pub(crate) fn see(&mut self, looked: &Result<SupervisorView, SupervisorError>, now: Stamp) {
        let Ok(view) = looked else {
            if !self.attached {
                // Its process has ended, and with it everything it was waiting for.
                self.forget_causes();
                self.failing = None;
                self.seen = None;
            }
            return;
        };
        self.see_failing(view, now);
        if view.app_state == AppState::Applied {
            self.forget_causes();
        }
        if let Some(percent) = view.download_percent {
            if percent > 0 {
                self.backoff = None;
            }
            if percent > self.percent {
                self.percent = percent;
                self.advanced = now.boot;
            }
            self.pulls.retain(|_, pull| !pull.goes_on(percent, now.boot));
        }
        let seen = Seen::of(view);
        if self.seen.as_ref().is_some_and(|before| *before != seen) {
            self.advanced = now.boot;
        }
        self.seen = Some(seen);
    }

    fn see_failing(&mut self, view: &SupervisorView, now: Stamp) {
        if view.update_failed {
            let from_the_start = self.seen.is_some();
            self.failing.get_or_insert(Failing {
                since: now.wall,
                began: now.boot,
                from_the_start,
            });
        } else if self.failing.take().is_some() {
            // It has succeeded, or begun anew.
            self.forget_causes();
        }
    }

    /// Another target is handed over, with these images. What the earlier one met is over, but the pause is not: a post
    /// does not end it (observed).
    pub(crate) fn begin_target(&mut self, images: &[&str], now: Stamp) {
        self.backoff = self.failing.map(|failing| {
            let longest = now.boot + LONGEST_BACKOFF;
            // Pauses double: one is not longer than all the time before it.
            let failing_for = now.boot.since(failing.began);
            let estimated = if failing.from_the_start {
                (now.boot + failing_for).min(longest)
            } else {
                longest
            };
            let said = self.lock.as_ref().map(|lock| lock.until);
            Backoff {
                since: now.wall,
                until: said.unwrap_or(estimated + BACKOFF_MARGIN),
            }
        });
        self.pulls
            .retain(|image, _| images.iter().any(|wanted| names(image, wanted)));
        self.lock = None;
        self.starts.clear();
        self.percent = 0;
        self.advanced = now.boot;
        self.changing = false;
    }

    /// Whether the log said that containers are being changed for the present target.
    pub(crate) fn is_changing(&self) -> bool {
        self.changing
    }

    /// When something last got on: bytes, images, containers.
    pub(crate) fn advanced(&self) -> Millis {
        self.advanced
    }

    pub(super) fn failed_pulls(&self) -> impl Iterator<Item = (&String, &PullTrouble)> {
        self.pulls
            .iter()
            .filter_map(|(image, pull)| Some((image, pull.failed.as_ref()?)))
    }

    /// Images that a registry has answered not to have, since then.
    pub(crate) fn images_not_found(&self, since: Millis) -> impl Iterator<Item = &str> {
        self.failed_pulls()
            .filter(move |(_, failed)| failed.failure == PullFailure::NotFound && failed.last >= since)
            .map(|(image, _)| image.as_str())
    }

    pub(super) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Services whose start failed: it was tried again, or the Supervisor has said since that a step failed.
    pub(super) fn failed_starts(&self) -> impl Iterator<Item = (&String, &Start)> {
        let failed = |start: &Start| self.failing.is_some_and(|failing| failing.began > start.began);
        self.starts
            .iter()
            .filter(move |(_, start)| start.tries > 1 || failed(start))
    }

    /// A service that the Supervisor has tried to start again and again since then, for so long that it will not start.
    pub(super) fn hopeless_start(&self, since: Millis, now: Millis) -> Option<(&str, u32)> {
        let mut starts = self.starts.iter();
        starts.find_map(|(service, start)| {
            let hopeless = start.tries >= STARTS_MIN && now.since(start.began.max(since)) >= START_PATIENCE;
            hopeless.then_some((service.as_str(), start.tries))
        })
    }

    /// Since when a step fails without a line that said which. While the log says that the Supervisor works, the flag is
    /// about an earlier attempt.
    pub(super) fn failing_unexplained(&self) -> Option<Failing> {
        self.failing.filter(|_| !self.at_work)
    }

    fn pull(&mut self, image: &str) -> Option<&mut Pull> {
        if self.pulls.len() >= KEPT && !self.pulls.contains_key(image) {
            return None;
        }
        Some(self.pulls.entry(image.to_owned()).or_insert(Pull {
            failed: None,
            began: None,
        }))
    }

    fn pull_failed(&mut self, image: &str, failure: PullFailure, message: &str, now: Stamp) {
        let percent = self.percent;
        let Some(pull) = self.pull(image) else { return };
        pull.began = None;
        match &mut pull.failed {
            Some(before) => {
                if before.failure != failure {
                    before.failure = failure;
                    before.message = message.to_owned();
                }
                before.last = now.boot;
                before.percent = before.percent.max(percent);
            }
            None => {
                pull.failed = Some(PullTrouble {
                    failure,
                    message: message.to_owned(),
                    since: now.wall,
                    last: now.boot,
                    percent,
                });
            }
        }
    }

    fn got_past_backoff(&mut self) {
        self.backoff = None;
    }

    /// The Supervisor changes containers, so nothing before that is in its way.
    fn got_past_locks(&mut self) {
        self.backoff = None;
        self.lock = None;
        self.pulls.clear();
        self.changing = true;
    }

    fn forget_causes(&mut self) {
        self.pulls.clear();
        self.lock = None;
        self.starts.clear();
        self.backoff = None;
    }
}

impl Pull {
    /// Whether the try under way gets on where an earlier one failed.
    fn goes_on(&self, percent: u8, now: Millis) -> bool {
        let (Some(failed), Some(began)) = (&self.failed, self.began) else {
            return false;
        };
        percent > failed.percent && now.since(began) >= GOING_ON
    }
}

impl Seen {
    fn of(view: &SupervisorView) -> Self {
        let mut containers: Vec<_> = view
            .containers
            .iter()
            .map(|container| {
                (
                    container.service.clone(),
                    container.image_id,
                    container.container_id.clone(),
                )
            })
            .collect();
        containers.sort_unstable();
        Self {
            release: view.release.clone(),
            containers,
            idle: view.app_state == AppState::Applied,
        }
    }
}

/// Whether the Supervisor's name of an image means the one that was posted. It puts the registry in front of a name
/// that has none.
pub(crate) fn names(logged: &str, posted: &str) -> bool {
    logged == posted
        || logged
            .strip_suffix(posted)
            .is_some_and(|before| before.ends_with('/'))
}
