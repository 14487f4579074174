//! What all states share: the durable record, and what a new process finds out again.

use crate::lifecycle::cloudly::heartbeat::Heartbeats;
use crate::lifecycle::cloudly::wall_clock::{HeardTime, WallClock};
use crate::lifecycle::durable::{Durable, Tracked};
use crate::lifecycle::effect::{PollRate, RequestId};
use crate::lifecycle::facts::{HostFacts, JoinOffer, Run, SupervisorError, SupervisorView};
use crate::lifecycle::guard::arming::Arming;
use crate::lifecycle::in_flight::InFlight;
use crate::lifecycle::locks::lease_grant::Provisional;
use crate::lifecycle::locks::leases::Leases;
use crate::lifecycle::locks::lock_files::LockFiles;
use crate::lifecycle::progress::tracker::Tracker;
use crate::lifecycle::report::issues::Issues;
use crate::lifecycle::report::notices::Notices;
use crate::lifecycle::settings_check::{SettingsCheck, takes_all};
use crate::lifecycle::time::{Millis, Stamp};
use crate::lifecycle::timer::Timers;
use crate::lifecycle::update::judgement::{Judgement, Known, judge};
use crate::lifecycle::update::predecessors::Predecessors;
use crate::lifecycle::update::record::{Blocker, Finished, Update};
use crate::lifecycle::update::target::Release;
use crate::lifecycle::update::verification::{Clock, Watch};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::status as wire;

#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// What survives a restart.
    pub(crate) durable: Tracked<Durable>,
    /// The facts of this run.
    pub(crate) run: Run,
    pub(crate) in_flight: InFlight,
    pub(crate) timers: Timers,
    pub(crate) heartbeats: Heartbeats,
    /// The last look at the Supervisor; `None`: not looked yet.
    pub(crate) supervisor: Option<Result<SupervisorView, SupervisorError>>,
    /// When the Supervisor last showed something new (boot-time clock).
    pub(crate) supervisor_changed: Millis,
    /// What the Supervisor said of its work on the present target.
    pub(crate) progress: Tracker,
    /// The last look at the host.
    pub(crate) host: HostFacts,
    /// Whether there was one in this run.
    pub(crate) host_seen: bool,
    pub(crate) issues: Issues,
    pub(crate) lock_files: LockFiles,
    /// How far adding the guard to the target has come.
    pub(crate) arming: Arming,
    /// Why the checkpoint cannot be written; `None`: it can.
    pub(crate) state_problem: Option<String>,
    /// The join token that lies ready.
    pub(crate) offer: Option<JoinOffer>,
    /// When this run began, device's clock.
    pub(crate) started_at: Timestamp,
    /// The leases as they were before the one that was granted last, and whose request that was: a grant that does
    /// not reach the disk does not reach its asker either, and must not hold anything.
    pub(crate) granted: Option<(RequestId, Leases)>,
    /// Leases whose askers wait for the lock files.
    pub(crate) provisional: Vec<Provisional>,
    /// Those of them that were granted last: a grant that does not reach the disk holds nothing.
    pub(crate) granted_late: Vec<Provisional>,
    pub(crate) stopping: bool,
    /// Looks at the settings that a release would give the agent.
    pub(crate) settings_check: SettingsCheck,
    pub(crate) poll_rate: PollRate,
    /// What the Cloudly port was told last, see [`WallClock::certificates_since`].
    pub(crate) certificates_since: Option<Timestamp>,
    pub(crate) notices: Notices,
}

impl Shared {
    pub(crate) fn new(durable: Durable, run: Run, now: Stamp) -> Self {
        let mut heartbeats = Heartbeats::default();
        if let Some(node) = &durable.node {
            heartbeats.configure(node);
        }
        Self {
            in_flight: InFlight::new(durable.epoch),
            durable: Tracked::new(durable),
            timers: Timers::default(),
            heartbeats,
            supervisor: None,
            supervisor_changed: now.boot,
            progress: Tracker::default(),
            host: HostFacts::default(),
            host_seen: false,
            issues: Issues::default(),
            lock_files: LockFiles::default(),
            arming: Arming::default(),
            state_problem: None,
            offer: run.join.clone(),
            started_at: now.wall,
            granted: None,
            provisional: Vec::new(),
            granted_late: Vec::new(),
            stopping: false,
            settings_check: takes_all,
            poll_rate: PollRate::Slow,
            certificates_since: None,
            notices: Notices::default(),
            run,
        }
    }

    /// The Supervisor's state, when it answers.
    pub(crate) fn view(&self) -> Option<&SupervisorView> {
        self.supervisor.as_ref()?.as_ref().ok()
    }

    /// What a look at the Supervisor says about a release; `before` is what ran before it.
    pub(crate) fn judge(
        &self,
        view: &SupervisorView,
        release: &Release,
        before: Option<&Predecessors>,
    ) -> Judgement {
        let known = Known {
            images: self.durable.target.images(&release.commit),
            predecessors: before,
            stopped: Some(self.durable.healing.stopped()),
        };
        judge(view, release, known)
    }

    /// Notes what holds an update back now; Cloudly is to hear of it when that is something new.
    pub(crate) fn set_blocked(&mut self, update: &mut Update, blocked: Vec<Blocker>) {
        if update.set_blocked(blocked) {
            self.heartbeats.urge();
        }
    }

    /// What a verification is to be told now.
    pub(crate) fn watch(&mut self, containers: Vec<String>, clock: Clock, now: Stamp) -> Watch<'_> {
        Watch {
            clock,
            health: self.durable.policy().health(),
            containers,
            now: now.boot,
            timers: &mut self.timers,
        }
    }

    /// The same of an exit, which tells nothing of containers.
    pub(crate) fn watch_exit(&mut self, clock: Clock, now: Stamp) -> Watch<'_> {
        self.watch(Vec::new(), clock, now)
    }

    /// Cloudly's clock, as an answer gave it.
    pub(crate) fn hear_clock(&mut self, server_time: Timestamp, now: Stamp) {
        self.heartbeats.hear_clock(server_time, now);
        if self.run.cloudly_over_tls {
            let mut noted = self.durable.heard_time;
            HeardTime::hear(&mut noted, server_time, now);
            if noted != self.durable.heard_time {
                self.durable.heard_time = noted;
            }
        }
    }

    pub(crate) fn wall_clock(&self, now: Stamp) -> WallClock {
        WallClock::judge(self.run.built_at, self.durable.heard_time, now)
    }

    /// The release the Supervisor says is applied.
    pub(crate) fn running(&self) -> Option<&str> {
        self.view()?.release.as_deref()
    }

    /// The commit consent would be about: what is desired and does not run.
    pub(crate) fn offered_commit(&self) -> Option<String> {
        let commit = &self.durable.desired_app()?.release.commit;
        (self.running() != Some(commit.as_str())).then(|| commit.clone())
    }

    /// Keeps an event for Cloudly.
    pub(crate) fn record_event(&mut self, now: Stamp, kind: EventKind, data: serde_json::Value) {
        self.durable.outbox.push(&self.run.run_id, now, kind, data);
    }

    /// Tells Cloudly how an update ended.
    pub(crate) fn record_outcome(&mut self, finished: &Finished, now: Stamp) {
        let error = finished.error.as_ref().map(wire::UpdateError::from);
        let data = serde_json::json!({
            "target": finished.commit, "state": finished.state, "attempt": finished.attempt,
            "rolloutId": finished.rollout, "error": error,
        });
        self.record_event(now, EventKind::UpdateFinished, data);
        self.heartbeats.urge();
    }
}
