//! How long things take.

use std::time::Duration;

/// How long the Supervisor and the engine take. [`Timing::recorded`] has the figures observed with Supervisor 19.0.5 on
/// a two-core machine, each with its source; [`Timing::fast`] is for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the post to the first step.
    pub apply_begin: Duration,
    /// Between two steps of an apply.
    pub step: Duration,
    /// Throughput of a pull, bytes a second.
    pub pull_bytes_per_second: u64,
    /// Until a pull has failed.
    pub pull_fail: Duration,
    /// Until a simulated container has stopped.
    pub stop: Duration,
    /// Until a container has been created and started.
    pub start: Duration,
    /// From the last container to `release` being the new commit.
    pub commit: Duration,
    /// From the new commit to `applied`.
    pub finish: Duration,
    /// Back-off is `2^n` times this, n = 1, 2, …
    pub backoff_unit: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
    /// The engine's first pause before it restarts a container that ended by itself; doubles each time.
    pub engine_restart: Duration,
    /// The longest pause.
    pub engine_restart_max: Duration,
    /// A container that ran this long has the first pause again.
    pub engine_restart_reset: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// Until `restart-service` has answered, in addition to stop and start.
    pub restart_service: Duration,
    /// Until the device is up again after a reboot.
    pub reboot: Duration,
    /// Until a restarted Supervisor answers.
    pub supervisor_start: Duration,
    /// When a crashed Supervisor starts again by itself; `None`: not until told.
    pub crash_restart: Option<Duration>,
}

impl Timing {
    /// As observed.
    pub fn recorded() -> Self {
        Self {
            // u03-poll-update-r1-r2: post at 1.0, applying and downloading at 1.2.
            apply_begin: Duration::from_millis(200),
            // u03: Downloaded at 5.61, Stopping at 6.22.
            step: Duration::from_millis(600),
            // u03: the registry was throttled to 8 MB/s.
            pull_bytes_per_second: 8_000_000,
            // u05-poll-badimage: update_failed 0.4 s after the post.
            pull_fail: Duration::from_millis(200),
            // u05-poll-locked: Stopping at 16.21, gone at 16.41, the new one Running at 16.61.
            stop: Duration::from_millis(200),
            start: Duration::from_millis(200),
            // u03: Running at 6.42, release at 7.09, applied at 7.29.
            commit: Duration::from_millis(600),
            finish: Duration::from_millis(200),
            // Observed: "retrying in 1s/2s/4s/8s" for n = 1, 2, 3, 4; at most the poll interval.
            backoff_unit: Duration::from_millis(500),
            backoff_max: Duration::from_secs(900),
            // As `docker run --restart` documents it; not in the recordings.
            engine_restart: Duration::from_millis(100),
            engine_restart_max: Duration::from_secs(60),
            engine_restart_reset: Duration::from_secs(10),
            // u04-get-target: stopGracePeriod 10.
            stop_grace: Duration::from_secs(10),
            // local-api-actions: restart-service answers after 0.55 s.
            restart_service: Duration::from_millis(150),
            // Not observed; the order of magnitude of a small device.
            reboot: Duration::from_secs(30),
            // Observed: 1.7 s from the restart to the first report.
            supervisor_start: Duration::from_millis(1700),
            crash_restart: None,
        }
    }

    /// The pause after this many failures in a row.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.backoff_unit.saturating_mul(factor).min(self.backoff_max)
    }

    /// About twenty times faster; a pull takes what its [`super::Pull`] says.
    pub fn fast() -> Self {
        let milliseconds = Duration::from_millis;
        Self {
            apply_begin: milliseconds(20),
            step: milliseconds(30),
            pull_bytes_per_second: 160_000_000,
            pull_fail: milliseconds(20),
            stop: milliseconds(30),
            start: milliseconds(30),
            commit: milliseconds(30),
            finish: milliseconds(20),
            backoff_unit: milliseconds(50),
            backoff_max: Duration::from_secs(5),
            engine_restart: milliseconds(5),
            engine_restart_max: Duration::from_secs(3),
            engine_restart_reset: milliseconds(500),
            stop_grace: Duration::from_secs(10),
            restart_service: milliseconds(20),
            reboot: milliseconds(500),
            supervisor_start: milliseconds(100),
            crash_restart: None,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::recorded()
    }
}
