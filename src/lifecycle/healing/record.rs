//! What is remembered of services that stopped: tries, exits, and which of them an operator stopped.

use crate::lifecycle::backoff;
use crate::lifecycle::effect::OpId;
use crate::lifecycle::facts::Container;
use crate::lifecycle::time::{Millis, Reboot};
use crate::lifecycle::unsaved::Unsaved;
use baseos_interfaces::command::CommandAction;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a service must have been seen stopped: a command that restarts it removes its container for a moment.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a service that is being stopped may be seen running.
const STOPPING: Duration = Duration::from_secs(120);
/// Tries to bring a service back, until it has run for [`RESET`].
const TRIES: u32 = 5;
/// After so long without a try the next one counts as the first.
const RESET: Duration = Duration::from_secs(6 * 3600);
/// From a target that could not be built to the next look: what is in the way is removed by hand.
const REFUSED: Duration = Duration::from_secs(300);
/// Exits within [`WINDOW`] that make a crash loop.
const EXITS: usize = 4;
const WINDOW: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Healing {
    /// By service; only those something was done about.
    tries: BTreeMap<String, Tries>,
    /// Services that an operator stopped: they are left alone.
    stopped: BTreeSet<String>,
    /// Those of them of which it is not known whether they were stopped.
    unsure: BTreeSet<String>,
    /// Since when one of these has been seen running.
    #[serde(skip)]
    running_since: Unsaved<BTreeMap<String, Millis>>,
    /// Since when a service has been seen stopped.
    #[serde(skip)]
    pub(super) stopped_since: Unsaved<BTreeMap<String, Millis>>,
    /// The last exits of a service.
    #[serde(skip)]
    exits: Unsaved<BTreeMap<String, VecDeque<Millis>>>,
    /// Why the target cannot be handed over again.
    #[serde(skip)]
    pub(super) refused: Unsaved<Option<String>>,
    #[serde(skip)]
    pub(super) phase: Unsaved<Phase>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    count: u32,
    last: Millis,
    not_before: Millis,
}

/// What is under way at the Supervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Resting,
    /// Looking whether the Supervisor's target is what it should be.
    Looking(OpId),
    /// It is: the release may be handed over again.
    MayPost,
    /// A call that is only accepted.
    Acting(OpId),
}

impl Healing {
    /// An operator's command that is carried out says whether a service is to run.
    pub(crate) fn hear(&mut self, action: &CommandAction) {
        match action {
            CommandAction::StopService { service } => {
                self.stopped.insert(service.clone());
            }
            CommandAction::StartService { service } | CommandAction::RestartService { service } => {
                self.was_not_stopped(service);
                self.tries.remove(service);
            }
            CommandAction::CheckNow {}
            | CommandAction::Reboot {}
            | CommandAction::CollectLogs { .. }
            | CommandAction::RotateToken {}
            | CommandAction::Unknown(_) => {}
        }
    }

    /// The Supervisor refused to stop it, or it is to run again.
    pub(crate) fn was_not_stopped(&mut self, service: &str) {
        self.stopped.remove(service);
        self.unsure.remove(service);
    }

    /// The Supervisor has stopped it.
    pub(crate) fn was_stopped(&mut self, service: &str) {
        self.unsure.remove(service);
    }

    /// Whether it was stopped is not known; it counts as stopped until it is seen to run on.
    pub(crate) fn may_have_been_stopped(&mut self, service: &str) {
        self.unsure.insert(service.to_owned());
    }

    /// Looks at the services of which it is not known whether they were stopped.
    pub(super) fn see_unsure(&mut self, containers: &[Container], now: Millis) {
        let unsure: Vec<_> = self.unsure.iter().cloned().collect();
        for service in unsure {
            let mut own = containers
                .iter()
                .filter(|container| container.service == service)
                .peekable();
            let exists = own.peek().is_some();
            if own.clone().any(Container::is_running) {
                let since = *self.running_since.entry(service.clone()).or_insert(now);
                if now.since(since) >= STOPPING {
                    self.running_since.remove(&service);
                    self.was_not_stopped(&service);
                }
                continue;
            }
            self.running_since.remove(&service);
            // Without a container, or while it is changed, it may be about to run again.
            if exists && own.all(|container| container.status.eq_ignore_ascii_case("exited")) {
                self.was_stopped(&service);
            }
        }
    }

    pub(super) fn is_unsure(&self) -> bool {
        !self.unsure.is_empty()
    }

    /// The services that operators stopped.
    pub(crate) fn stopped(&self) -> &BTreeSet<String> {
        &self.stopped
    }

    /// These run: whatever was stopped of them has been started again.
    pub(crate) fn run_again<'a>(&mut self, services: impl Iterator<Item = &'a str>) {
        for service in services {
            self.was_not_stopped(service);
        }
    }

    pub(crate) fn was_stopped_on_purpose(&self, service: &str) -> bool {
        self.stopped.contains(service)
    }

    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        for tries in self.tries.values_mut() {
            tries.not_before = reboot.carry(tries.not_before);
            tries.last = reboot.now.boot;
        }
    }

    /// A try for this service begins.
    pub(super) fn count(&mut self, service: &str, now: Millis, entropy: u64) -> u32 {
        let tries = self.tries.entry(service.to_owned()).or_default();
        if now.since(tries.last) >= RESET {
            tries.count = 0;
        }
        let pause = backoff::HEAL.delay(tries.count, entropy);
        tries.count += 1;
        tries.last = now;
        tries.not_before = now + pause;
        tries.count
    }

    /// Nothing was tried for these services, because the target that would bring them back cannot be built.
    pub(super) fn refuse<'a>(&mut self, services: impl Iterator<Item = &'a str>, why: String, now: Millis) {
        for service in services {
            self.tries.entry(service.to_owned()).or_default().not_before = now + REFUSED;
        }
        *self.refused = Some(why);
    }

    /// Why services without a container are not brought back.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// A try for every service that has stopped came to nothing.
    pub(super) fn count_all(&mut self, now: Millis, entropy: u64) {
        let services: Vec<_> = self.stopped_since.keys().cloned().collect();
        for service in services {
            self.count(&service, now, entropy);
        }
    }

    /// Tries that were made for this service, as far as they count.
    pub(crate) fn tries(&self, service: &str, now: Millis) -> u32 {
        let tries = self.tries.get(service);
        tries.map_or(0, |tries| {
            if now.since(tries.last) < RESET {
                tries.count
            } else {
                0
            }
        })
    }

    pub(crate) fn is_given_up(&self, service: &str, now: Millis) -> bool {
        self.tries(service, now) >= TRIES
    }

    /// When the next try for a service that has been stopped since then is due.
    pub(super) fn due(&self, service: &str, since: Millis, now: Millis) -> Millis {
        let Some(tries) = self.tries.get(service) else {
            return since + SETTLE;
        };
        let budget = if self.is_given_up(service, now) {
            tries.last + RESET
        } else {
            tries.not_before
        };
        (since + SETTLE).max(budget)
    }

    /// A service's process ended by itself.
    pub(super) fn exited(&mut self, service: &str, now: Millis) {
        let exits = self.exits.entry(service.to_owned()).or_default();
        exits.push_back(now);
        if exits.len() > EXITS {
            exits.pop_front();
        }
    }

    pub(super) fn forget_exits(&mut self) {
        self.exits.clear();
    }

    pub(super) fn has_exits(&self) -> bool {
        !self.exits.is_empty()
    }

    /// The services that exit again and again, and when each of them has been quiet for long enough.
    pub(crate) fn crash_loops(&self, now: Millis) -> impl Iterator<Item = (&str, Millis)> {
        self.exits.iter().filter_map(move |(service, exits)| {
            let quiet = *exits.front()? + WINDOW;
            (exits.len() >= EXITS && quiet > now).then_some((service.as_str(), quiet))
        })
    }
}
