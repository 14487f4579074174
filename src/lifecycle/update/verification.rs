//! Verification: a release that has been put in place must stay healthy for a while before it counts.

use crate::lifecycle::facts::SupervisorView;
use crate::lifecycle::time::Millis;
use crate::lifecycle::timer::{Timer, Timers};
use crate::lifecycle::unsaved::Unsaved;
use crate::lifecycle::update::judgement::Judgement;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Breaks in health after which it is not given more time.
const BREAKS: u32 = 3;
/// The shortest time a service may take to come up.
const START_GRACE: Duration = Duration::from_secs(10);
/// Observations kept as evidence.
const EVIDENCE: usize = 10;

/// What has been seen since the release was put in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verification {
    #[serde(skip)]
    healthy_since: Unsaved<Option<Millis>>,
    #[serde(skip)]
    unhealthy_since: Unsaved<Option<Millis>>,
    #[serde(skip)]
    containers: Unsaved<Vec<String>>,
    /// A service has ended since the last look: a look that shows it as ended counts no second break.
    #[serde(skip)]
    exited: Unsaved<bool>,
    breaks: u32,
    /// Starts of the agent within it.
    starts: u32,
    /// What was not as it should be, in order.
    pub(crate) evidence: Vec<String>,
}

/// The timers that a verification arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// It has been healthy for long enough.
    healthy: Timer,
    /// It has been unhealthy for too long.
    unhealthy: Timer,
}

/// Of the update under way.
pub(crate) const FOREGROUND: Clock = Clock {
    healthy: Timer::Health,
    unhealthy: Timer::Retry,
};

/// Of a release that was superseded after it was handed over.
pub(crate) const BACKGROUND: Clock = Clock {
    healthy: Timer::Watch,
    unhealthy: Timer::Watch,
};

/// What a verification is told with each look.
pub(crate) struct Watch<'a> {
    pub(crate) clock: Clock,
    /// How long the release must stay healthy.
    pub(crate) health: Duration,
    /// Those seen, see [`containers`]: another set means that one was replaced.
    pub(crate) containers: Vec<String>,
    pub(crate) now: Millis,
    pub(crate) timers: &'a mut Timers,
}

/// The ids of all containers, sorted.
pub(crate) fn containers(view: Option<&SupervisorView>) -> Vec<String> {
    let seen = view.into_iter().flat_map(|view| &view.containers);
    let mut ids: Vec<_> = seen.map(|container| container.container_id.clone()).collect();
    ids.sort_unstable();
    ids
}

/// What to make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Wait.
    Open,
    /// It will not become healthy.
    Bad,
}

impl Verification {
    /// A process that starts anew has not watched: the time begins again.
    pub(crate) fn restart(&mut self) {
        *self.healthy_since = None;
        *self.unhealthy_since = None;
        *self.exited = false;
    }

    /// The agent has started. One start may belong to the update itself; more of them break the release's health: they
    /// are all that is ever seen of one that takes the agent or the device down.
    pub(crate) fn agent_started(&mut self) {
        self.starts += 1;
        if self.starts > 1 {
            self.break_health(format!("the agent started {} times", self.starts));
        }
    }

    /// Whether it has been healthy for this time without a break.
    pub(crate) fn is_over(&self, health: Duration, now: Millis) -> bool {
        self.healthy_since.is_some_and(|since| now.since(since) >= health)
    }

    /// Takes in one judgement, or `None` when nothing can be seen at present.
    pub(crate) fn see(&mut self, judgement: Option<&Judgement>, watch: Watch<'_>) -> Outlook {
        let Watch {
            clock,
            health,
            containers,
            now,
            timers,
        } = watch;
        let exited = std::mem::take(&mut *self.exited);
        match judgement {
            Some(Judgement::Healthy) => {
                let replaced = !self.containers.is_empty() && *self.containers != containers;
                *self.containers = containers;
                if replaced {
                    self.break_health("a container was replaced".to_owned());
                }
                *self.unhealthy_since = None;
                let since = *self.healthy_since.get_or_insert(now);
                let over = since + health;
                // Once it is over, whoever waits for more (the last look, the agent's proof) says when to come again.
                if over > now || timers.get(clock.healthy).is_none() {
                    timers.arm(clock.healthy, over);
                }
            }
            Some(Judgement::Unhealthy(seen) | Judgement::WrongImage(seen)) => {
                let news = self.healthy_since.is_some() || self.unhealthy_since.is_none();
                if news && !exited {
                    self.break_health(seen.join(", "));
                }
                *self.healthy_since = None;
                timers.disarm(clock.healthy);
                let since = *self.unhealthy_since.get_or_insert(now);
                if now.since(since) >= health.max(START_GRACE) {
                    return Outlook::Bad;
                }
                timers.arm(clock.unhealthy, since + health.max(START_GRACE));
            }
            Some(Judgement::Pending(_) | Judgement::Unknown(_) | Judgement::Elsewhere(_)) | None => {
                // The Supervisor is at work (a reboot, say) or silent: no judgement, and no credit either.
                *self.healthy_since = None;
                *self.unhealthy_since = None;
                timers.disarm(clock.healthy);
                timers.disarm(clock.unhealthy);
            }
        }
        self.outlook()
    }

    /// Takes in that a service of the release ended. A look does not show it when the engine starts it again
    /// (`restart: always`): the Supervisor then goes on saying `Running` of the same container (observed).
    pub(crate) fn exited(&mut self, service: &str, watch: Watch<'_>) -> Outlook {
        // It was not healthy: the Supervisor is at work or the break is known; nothing follows from this one.
        if self.healthy_since.is_none() {
            return Outlook::Open;
        }
        self.break_health(format!("{service} exited"));
        *self.exited = true;
        let Watch {
            clock,
            health,
            now,
            timers,
            ..
        } = watch;
        *self.healthy_since = Some(now);
        timers.arm(clock.healthy, now + health);
        self.outlook()
    }

    fn outlook(&self) -> Outlook {
        if self.breaks >= BREAKS {
            Outlook::Bad
        } else {
            Outlook::Open
        }
    }

    fn break_health(&mut self, seen: String) {
        self.breaks += 1;
        *self.healthy_since = None;
        if self.evidence.len() < EVIDENCE {
            self.evidence.push(seen);
        }
    }
}

/// It is healthy at last: it gets the rest of its time, which a silent Supervisor or the agent's own absence may have
/// cut short. What breaks until then still counts. False: it is not healthy.
pub(crate) fn extend_deadline(timers: &mut Timers) -> bool {
    let Some(end) = timers.get(Timer::Health) else {
        return false;
    };
    timers.arm(Timer::Deadline, end + Duration::from_millis(1));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTH: Duration = Duration::from_secs(30);

    /// The moment after a healthy look at which the time of health is over.
    fn healthy_at(seconds: u64, verification: &mut Verification, timers: &mut Timers) -> Option<Millis> {
        let watch = Watch {
            clock: FOREGROUND,
            health: HEALTH,
            containers: vec!["c-1".to_owned()],
            now: Millis(seconds * 1000),
            timers,
        };
        verification.see(Some(&Judgement::Healthy), watch);
        timers.get(Timer::Health)
    }

    /// Each look brought it forward into the past, and it came again and again at once.
    #[test]
    fn a_look_after_the_time_of_health_leaves_alone_when_it_is_judged_next() {
        let (mut verification, mut timers) = (Verification::default(), Timers::default());
        assert_eq!(
            healthy_at(10, &mut verification, &mut timers),
            Some(Millis(40_000))
        );
        assert_eq!(
            healthy_at(20, &mut verification, &mut timers),
            Some(Millis(40_000))
        );
        timers.arm(Timer::Health, Millis(45_000));
        assert_eq!(
            healthy_at(41, &mut verification, &mut timers),
            Some(Millis(45_000))
        );
        timers.disarm(Timer::Health);
        assert_eq!(
            healthy_at(42, &mut verification, &mut timers),
            Some(Millis(40_000))
        );
    }
}
