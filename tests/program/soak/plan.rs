//! What happens in a soak: a sequence of updates with faults, the same for the same seed.

use baseos_simulator::device::FaultKind;
use fastrand::Rng;
use std::fmt;

/// An update and what disturbs it.
#[derive(Debug)]
pub(crate) struct Episode {
    pub(crate) number: u32,
    pub(crate) release: Release,
    /// Another release that becomes the desired one after this time, milliseconds.
    pub(crate) superseded: Option<(u64, Release)>,
    pub(crate) disturbances: Vec<Disturbance>,
}

#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) commit: String,
    pub(crate) is_bad: bool,
}

#[derive(Debug)]
pub(crate) struct Disturbance {
    /// After the release became the desired one, milliseconds.
    pub(crate) at: u64,
    pub(crate) kind: DisturbanceKind,
}

#[derive(Debug)]
pub(crate) enum DisturbanceKind {
    KillAgent,
    /// The agent is killed, and the next one again at this fail point.
    KillAgentAt {
        fail_point: &'static str,
        hit: u32,
    },
    TerminateAgent,
    RestartSupervisor,
    /// The Supervisor is down for so many milliseconds.
    SupervisorDown(u64),
    SupervisorFault {
        path: &'static str,
        kind: FaultKind,
        times: u32,
    },
    PowerCut,
    /// Cloudly is killed and down for so many milliseconds.
    CloudlyDown(u64),
    /// The agent is killed and runs with another clock from then on.
    ClockJump(&'static str),
    /// Somebody has taken balena's update lock of the other service for so many milliseconds.
    ForeignLock(u64),
    /// The state disk is full for so many milliseconds.
    DiskFull(u64),
}

impl DisturbanceKind {
    /// Whether the agent's container is started again.
    pub(crate) fn restarts_the_agent(&self) -> bool {
        matches!(
            self,
            Self::KillAgent
                | Self::KillAgentAt { .. }
                | Self::TerminateAgent
                | Self::PowerCut
                | Self::ClockJump(_)
        )
    }
}

const FAIL_POINTS: [&str; 8] = [
    "store.before_temp",
    "store.after_temp_fsync",
    "store.before_rename",
    "store.after_rename",
    "checkpoint.before",
    "checkpoint.after",
    "effect.before.ApplyTarget",
    "effect.after.ApplyTarget",
];

const PATHS: [&str; 4] = ["/v2/local/target-state", "/v2/state/status", "/v1/device", "*"];

const CLOCKS: [&str; 5] = ["+3650d", "-3650d", "+3h", "-400d", "+0"];

/// The updates of a soak, without end.
pub(crate) struct Plan {
    rng: Rng,
    number: u32,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            number: 0,
        }
    }

    fn release(&mut self) -> Release {
        Release {
            // At least one of the letters a to f, as the rules want it.
            commit: format!("c{:07x}{:08x}", self.number, self.rng.u32(..)),
            is_bad: self.rng.u8(..4) == 0,
        }
    }

    fn disturbance(&mut self) -> Disturbance {
        let at = self.rng.u64(0..5000);
        let pause = self.rng.u64(200..4000);
        let kind = match self.rng.u8(..11) {
            0 => DisturbanceKind::KillAgent,
            1 => DisturbanceKind::KillAgentAt {
                fail_point: self.choose(&FAIL_POINTS),
                hit: self.rng.u32(1..4),
            },
            2 => DisturbanceKind::TerminateAgent,
            3 => DisturbanceKind::RestartSupervisor,
            4 => DisturbanceKind::SupervisorDown(pause),
            5 => DisturbanceKind::PowerCut,
            6 => DisturbanceKind::CloudlyDown(pause),
            7 => DisturbanceKind::ClockJump(self.choose(&CLOCKS)),
            8 => DisturbanceKind::ForeignLock(pause),
            9 => DisturbanceKind::DiskFull(pause),
            _ => DisturbanceKind::SupervisorFault {
                path: self.choose(&PATHS),
                kind: self.supervisor_fault(),
                times: self.rng.u32(1..4),
            },
        };
        Disturbance { at, kind }
    }

    fn supervisor_fault(&mut self) -> FaultKind {
        match self.rng.u8(..9) {
            0 => FaultKind::Slow { millis: 1500 },
            1 => FaultKind::Status { code: 503 },
            2 => FaultKind::Unauthorized,
            3 => FaultKind::Garbage,
            4 => FaultKind::EndlessBody,
            5 => FaultKind::WrongContentType,
            6 => FaultKind::Truncated,
            7 => FaultKind::Dropped,
            _ => FaultKind::DroppedAfter,
        }
    }

    fn choose(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.rng.usize(..texts.len())]
    }
}

impl Iterator for Plan {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        self.number += 1;
        let release = self.release();
        let is_superseded = self.rng.u8(..5) == 0;
        let superseded = is_superseded.then(|| (self.rng.u64(0..4000), self.release()));
        let count = self.rng.usize(0..4);
        let mut disturbances: Vec<_> = (0..count).map(|_| self.disturbance()).collect();
        disturbances.sort_by_key(|disturbance| disturbance.at);
        Some(Episode {
            number: self.number,
            release,
            superseded,
            disturbances,
        })
    }
}

impl Episode {
    /// The release that is desired in the end.
    pub(crate) fn last(&self) -> &Release {
        self.superseded
            .as_ref()
            .map_or(&self.release, |(_, release)| release)
    }

    /// How often the agent may be started again while it watches the release.
    pub(crate) fn agent_restarts(&self) -> usize {
        let count = |disturbance: &Disturbance| match disturbance.kind {
            DisturbanceKind::KillAgentAt { .. } => 2,
            ref kind => usize::from(kind.restarts_the_agent()),
        };
        self.disturbances.iter().map(count).sum()
    }
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |release: &Release| {
            let quality = if release.is_bad { "bad" } else { "good" };
            format!("{} ({quality})", release.commit)
        };
        write!(f, "{}: update to {}", self.number, show(&self.release))?;
        if let Some((after, release)) = &self.superseded {
            write!(f, ", after {after} ms to {}", show(release))?;
        }
        for Disturbance { at, kind } in &self.disturbances {
            write!(f, "; at {at} ms {kind:?}")?;
        }
        Ok(())
    }
}
