//! `baserunner guard`: the guard of the agent's own update, a program beside the agent (architecture §4).
//!
//! It reads the agent's orders from the state directory. While a release is on trial it looks at the Supervisor; when the
//! new agent does not prove itself in time, it writes that down and posts the proven target until the Supervisor is seen
//! to have it, and again whenever the Supervisor has lost it before the agent has taken note. Otherwise it does nothing.
//! [`decide`] is pure; this file reads, writes, calls and sleeps.

mod decide;
mod state_dir;
mod supervisor;

use crate::failpoint;
use crate::lifecycle::guard::files::Report;
use crate::lifecycle::time::Stamp;
use decide::{Look, Next};
use state_dir::StateDir;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
pub use supervisor::SupervisorAddress;
use supervisor::{CallError, Supervisor};
use tokio::signal::unix::{SignalKind, signal};

/// From one look at the orders to the next.
const TICK: Duration = Duration::from_secs(1);
/// The longest pause between two posts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the guard needs to know. It reads no configuration file: a bad one must not stop it.
pub struct GuardSettings {
    pub state_dir: PathBuf,
    /// `None`: the service has no access to the Supervisor.
    pub supervisor: Option<SupervisorAddress>,
    pub boot_id: String,
    /// Of this program.
    pub version: String,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be received, there is no Supervisor to speak to, or the state directory can be no agent's.
pub fn run(settings: GuardSettings, clock: impl FnMut() -> Stamp) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(settings, clock))
}

async fn watch(settings: GuardSettings, clock: impl FnMut() -> Stamp) -> io::Result<()> {
    let supervisor = settings.supervisor.ok_or_else(|| {
        io::Error::other(
            "the guard has no access to the Supervisor: its service needs the label io.balena.features.supervisor-api=1",
        )
    })?;
    let dir = StateDir::new(settings.state_dir);
    dir.check()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut guard = Guard {
        dir,
        supervisor: Supervisor::new(supervisor),
        clock,
        report: Report::default(),
        saved: None,
        save_failed: false,
        refusals: 0,
    };
    guard.begin(settings.version, settings.boot_id);
    loop {
        // A signal ends it at any time: what it has to remember is on disk before it acts.
        tokio::select! {
            () = guard.turn() => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the guard has no machine with timers; this is its one delay"
)]
async fn rest(pause: Duration) {
    tokio::time::sleep(pause).await;
}

struct Guard<C> {
    dir: StateDir,
    supervisor: Supervisor,
    clock: C,
    report: Report,
    /// The report that is on disk.
    saved: Option<Report>,
    /// The last attempt to write it failed, and was logged.
    save_failed: bool,
    /// Posts in a row that the Supervisor did not take, or was not seen to have kept.
    refusals: u32,
}

impl<C: FnMut() -> Stamp> Guard<C> {
    fn begin(&mut self, version: String, boot_id: String) {
        let known = self.dir.report();
        self.saved.clone_from(&known);
        let now = (self.clock)();
        self.report = decide::begin(known.unwrap_or_default(), version, boot_id, now);
        tracing::info!(holds = self.held(), "the guard starts");
        self.save();
    }

    /// The commit it would put back.
    fn held(&self) -> &str {
        self.report
            .held
            .as_ref()
            .map_or("nothing", |held| held.commit.as_str())
    }

    fn follow_orders(&mut self) {
        let Some(orders) = self.dir.changed_orders() else {
            return;
        };
        let before = self.held().to_owned();
        if !decide::take_orders(&mut self.report, orders) {
            self.dir.give_orders_again();
        }
        if self.held() != before {
            tracing::info!(holds = self.held(), "the guard has new orders");
        }
    }

    async fn turn(&mut self) {
        self.follow_orders();
        let look = match decide::next(&self.report) {
            Next::Rest => Look::Not,
            Next::Look | Next::Post | Next::Keep => self.supervisor.look().await,
        };
        let now = (self.clock)();
        decide::see(&mut self.report, &look, now);
        self.save();
        let pause = match decide::next(&self.report) {
            Next::Post if !matches!(look, Look::Not) => self.post().await,
            Next::Keep if matches!(look, Look::Seen(_)) => self.keep().await,
            Next::Rest | Next::Look | Next::Post | Next::Keep => TICK,
        };
        rest(pause).await;
    }

    /// Posts the proven target, unless the Supervisor has it; returns the time until the next turn.
    async fn post(&mut self) -> Duration {
        let Some(held) = &self.report.held else {
            return TICK;
        };
        failpoint::hit("guard.before_post");
        let (settles, posted) = match self.supervisor.has_target(&held.commit).await {
            Ok(true) => (true, Ok(())),
            // The next turn sees whether the Supervisor has kept it.
            Ok(false) => (false, self.supervisor.post(&held.target).await),
            // One that cannot say what it has may take a target all the same: its 200 is all there is to see.
            Err(_) => (true, self.supervisor.post(&held.target).await),
        };
        failpoint::hit("guard.after_post");
        if settles && posted.is_ok() {
            tracing::warn!(release = held.commit, "the guard has put the proven release back");
            decide::accepted(&mut self.report);
            self.refusals = 0;
            self.save();
            return TICK;
        }
        self.pause_after(posted)
    }

    /// Posts the proven target again if the Supervisor says that it has another one, or none, by now.
    async fn keep(&mut self) -> Duration {
        let Some(held) = &self.report.held else {
            return TICK;
        };
        if !matches!(self.supervisor.has_target(&held.commit).await, Ok(false)) {
            self.refusals = 0;
            return TICK;
        }
        // The agent may have come back meanwhile: then the other target may be its own.
        self.follow_orders();
        let held = self.report.held.as_ref();
        let Some(held) = held.filter(|_| decide::next(&self.report) == Next::Keep) else {
            return TICK;
        };
        tracing::warn!(
            release = held.commit,
            "the proven release is no longer the target and is posted again"
        );
        let posted = self.supervisor.post(&held.target).await;
        self.pause_after(posted)
    }

    /// After a post that may not have settled it, ever longer.
    fn pause_after(&mut self, posted: Result<(), CallError>) -> Duration {
        if let Err(error) = posted {
            tracing::warn!(release = self.held(), %error, "the proven release is not put back yet");
        }
        self.refusals = self.refusals.saturating_add(1);
        self.pause()
    }

    fn pause(&self) -> Duration {
        TICK.saturating_mul(1 << self.refusals.saturating_sub(1).min(4))
            .min(LONGEST_PAUSE)
    }

    /// A report that cannot be written does not keep the guard from its work; the next turn tries again.
    fn save(&mut self) {
        if self.saved.as_ref() == Some(&self.report) {
            return;
        }
        failpoint::hit("guard.before_report");
        match self.dir.write_report(&self.report) {
            Ok(()) => {
                self.saved = Some(self.report.clone());
                self.save_failed = false;
            }
            Err(error) if !self.save_failed => {
                tracing::error!(%error, "the guard's report cannot be written");
                self.save_failed = true;
            }
            Err(_) => {}
        }
        failpoint::hit("guard.after_report");
    }
}
