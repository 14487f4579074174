//! Whether the device's wall clock can be right, judged by when this agent was built and by Cloudly's clock.
//!
//! Certificates are verified against the wall clock, so a wrong one would cut a device off from Cloudly for good. When
//! the wall clock is not to be trusted, a certificate is accepted that is valid now by the wall clock **or** at any
//! time since the build ([`WallClock::certificates_since`]). Cloudly's clock only decides whether the wall clock is
//! trusted. It is never a bound for certificates: one answer, or a day of answers, from a Cloudly with a wrong clock
//! would lock the device out.

use crate::lifecycle::time::{Millis, Reboot, Stamp};
use baseos_interfaces::Timestamp;
use serde::{Deserialize, Serialize};

const DAY: i64 = 24 * 3600;
/// Farther from Cloudly's clock is implausible, seconds. After a reboot Cloudly's time may be a day old.
const FAR: i64 = 2 * DAY;
/// An agent is not in use for longer after its build, seconds: a later time is no time.
const LIFE_OF_A_BUILD: i64 = 10 * 365 * DAY;
/// How long after its build an agent may be when it hears Cloudly for the first time, seconds; later is unconfirmed.
const FIRST_YEAR: i64 = 365 * DAY;
/// Cloudly's clock is noted again when it has moved against the boot-time clock by more, seconds.
const DRIFT: u64 = 60;
/// Cloudly's clock is noted again after this time, so that little is lost in a reboot, seconds.
const NOTED_FOR: u64 = 24 * 3600;

/// What Cloudly's clock said when it was last noted; heard over TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeardTime {
    /// Cloudly's clock.
    cloudly: Timestamp,
    /// When it said so (boot-time clock).
    at: Millis,
    /// The device has rebooted since, and may have been off for any time.
    rebooted: bool,
}

impl HeardTime {
    /// Takes in what Cloudly's clock says. Noted rarely, so that heartbeats write nothing to the disk.
    pub(crate) fn hear(noted: &mut Option<Self>, server_time: Timestamp, now: Stamp) {
        let still_right = noted.is_some_and(|noted| {
            let off = noted.now(now).map(|heard| seconds_from(heard, server_time));
            !noted.rebooted
                && off.is_some_and(|off| off.unsigned_abs() <= DRIFT)
                && now.boot.since(noted.at).as_secs() < NOTED_FOR
        });
        if !still_right {
            *noted = Some(Self {
                cloudly: server_time,
                at: now.boot,
                rebooted: false,
            });
        }
    }

    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        let saved = Stamp {
            boot: reboot.saved,
            ..reboot.now
        };
        self.cloudly = self.now(saved).unwrap_or(self.cloudly);
        self.at = reboot.now.boot;
        self.rebooted = true;
    }

    /// What Cloudly's clock says now, at the least.
    fn now(self, now: Stamp) -> Option<Timestamp> {
        let since = i64::try_from(now.boot.since(self.at).as_millis()).ok()?;
        Timestamp::from_millisecond(self.cloudly.as_millisecond().checked_add(since)?).ok()
    }
}

/// What is thought of the device's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WallClock {
    /// Nothing speaks against it.
    Plausible,
    /// It is ahead of what Cloudly's clock said before the last reboot, or Cloudly was never heard and the build is old.
    /// Either may be so, but nothing confirms it.
    Unconfirmed { built: Timestamp },
    Implausible {
        built: Timestamp,
        /// Cloudly's time, where that can be right.
        cloudly: Option<Timestamp>,
    },
}

impl WallClock {
    /// `built`: when this agent was built; `None` in a journal of an older agent.
    pub(crate) fn judge(built: Option<Timestamp>, heard: Option<HeardTime>, now: Stamp) -> Self {
        let Some(built) = built else {
            return Self::Plausible;
        };
        let possible = |time: Timestamp| (0..=LIFE_OF_A_BUILD).contains(&seconds_from(built, time));
        let rebooted = heard.is_some_and(|heard| heard.rebooted);
        let cloudly = heard
            .and_then(|heard| heard.now(now))
            .filter(|time| possible(*time));
        let (ahead, far) = match cloudly {
            Some(cloudly) => (seconds_from(cloudly, now.wall), FAR),
            None => (seconds_from(built, now.wall), FIRST_YEAR),
        };
        if !possible(now.wall) || ahead < -far || (ahead > far && cloudly.is_some() && !rebooted) {
            Self::Implausible { built, cloudly }
        } else if ahead > far {
            Self::Unconfirmed { built }
        } else {
            Self::Plausible
        }
    }

    /// From when on any time counts for a certificate's validity; `None`: the wall clock's time alone counts.
    pub(crate) fn certificates_since(self) -> Option<Timestamp> {
        match self {
            Self::Plausible => None,
            Self::Unconfirmed { built } | Self::Implausible { built, .. } => Some(built),
        }
    }

    /// What is wrong with it: both times, as days, so that the text changes once a day.
    pub(crate) fn problem(self, now: Stamp) -> Option<String> {
        let Self::Implausible { built, cloudly } = self else {
            return None;
        };
        let (wall, built) = (day(now.wall), day(built));
        Some(match cloudly.map(day) {
            Some(cloudly) => format!("the device's clock says {wall}, Cloudly's {cloudly}"),
            None => format!("the device's clock says {wall}, this agent was built on {built}"),
        })
    }
}

/// Seconds from `earlier` to `later`, negative when it is the other way round.
fn seconds_from(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_second() - earlier.as_second()
}

fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
