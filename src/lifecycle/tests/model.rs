//! A reference model of the lifecycle: what it may do and where it must end, told from desired state and facts alone.
//!
//! It is not a second machine: it knows no phases, retries or timers. It reads the same events as the machine and says
//! when an update may begin, what may be handed over, and in which ends a world that has come to rest may be found.
//! Where facts leave more than one end open (a release that something spoke against may be given up or not), it allows
//! each of them.

use super::world::{World, commit};
use crate::lifecycle::effect::{LocalAnswer, SupervisorCall};
use crate::lifecycle::event::{LocalCall, SupervisorAnswer};
use crate::lifecycle::facts::{Container, HostFacts, SupervisorView};
use crate::lifecycle::time::Millis;
use crate::lifecycle::{Effect, Event, Step};
use baseos_interfaces::desired::DesiredApp;
use baseos_interfaces::states::AgentState;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Releases 1, 2 and 4 run well; 3 does not stay up; 5 lacks the agent.
const UNFIT: u8 = 5;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// `node_…`, once enrolled.
    node: Option<String>,
    revision: u64,
    desired: Option<DesiredApp>,
    /// The commit somebody at the device approved and did not defer since.
    approved: Option<String>,
    /// The commit that was deferred last, and until when.
    deferral: Option<(String, Millis)>,
    /// Leases by name, and when they end.
    leases: BTreeMap<String, Millis>,
    host: Option<HostFacts>,
    state_problem: bool,
    /// The commit the Supervisor said is applied, when it last answered.
    running: Option<String>,
    /// The commit that was handed to the Supervisor last, by whomever: it goes on with it, whatever holds an update back.
    handed_over: Option<String>,
    /// The commit that the agent handed over last, until it sees that another one is applied: somebody else's target may
    /// have come since.
    posted: Option<String>,
    /// What the Supervisor had at the last inspection; the same is not handed over again.
    inspected: Option<String>,
    /// Commits that something spoke against while they were desired.
    accused: BTreeSet<String>,
    /// Commits that somebody else handed the Supervisor.
    foreign: BTreeSet<String>,
    /// Commits that ran before anything was desired, or were desired.
    trusted: BTreeSet<String>,
}

/// In which ends a world at rest may be found.
#[derive(Debug)]
pub(crate) struct Ends {
    states: Vec<AgentState>,
    /// The commits the Supervisor may have as its target.
    targets: Vec<String>,
}

impl Model {
    /// A Supervisor that runs this release from the start.
    pub(crate) fn new(runs: u8) -> Self {
        Self {
            trusted: BTreeSet::from([commit(runs)]),
            ..Self::default()
        }
    }

    /// A new process knows what is on disk, and has not looked at anything yet.
    pub(crate) fn restarted(&self, reboot: bool) -> Self {
        let mut model = Self {
            host: None,
            state_problem: false,
            running: None,
            ..self.clone()
        };
        if reboot {
            model.leases.clear();
            model.deferral = None;
        }
        model
    }

    /// Takes in an event and what the machine made of it; returns what it must not have done.
    pub(crate) fn take(
        &mut self,
        now: Millis,
        event: Option<&Event>,
        step: &Step,
        disk_works: bool,
    ) -> Vec<String> {
        // A late answer to an identity that is being replaced is nobody's.
        if let Some(event) = event.filter(|_| !step.ignored) {
            self.learn(now, event, step, disk_works);
        }
        let mut faults = Vec::new();
        if step
            .transitions
            .iter()
            .any(|moved| moved.to == AgentState::Applying)
        {
            faults.extend(
                self.must_not_begin(now)
                    .map(|why| format!("an update began: {why}")),
            );
        }
        for effect in &step.effects {
            if let Effect::Supervisor {
                call: SupervisorCall::ApplyTarget { target, force },
                ..
            } = effect
            {
                faults.extend(self.must_not_hand_over(target.commit(), *force));
                self.handed_over = Some(target.commit().to_owned());
                self.posted.clone_from(&self.handed_over);
            }
        }
        faults
    }

    fn learn(&mut self, now: Millis, event: &Event, step: &Step, disk_works: bool) {
        match event {
            Event::Registered { node, .. } if self.node.as_ref() != Some(&node.node_id) => {
                self.node = Some(node.node_id.clone());
                (self.revision, self.desired) = (0, None);
            }
            Event::HeartbeatAnswered {
                node_id,
                instructions,
                ..
            } => {
                if self.node != *node_id {
                    // The identity before was kept, and Cloudly accepted that one.
                    self.node.clone_from(node_id);
                    (self.revision, self.desired) = (0, None);
                }
                if let Some(desired) = instructions
                    .desired
                    .as_ref()
                    .filter(|desired| desired.revision > self.revision)
                {
                    self.revision = desired.revision;
                    self.desired.clone_from(&desired.app);
                    self.trusted
                        .extend(self.desired.iter().map(|app| app.release.commit.clone()));
                    let desired = self.desired_commit();
                    self.deferral
                        .take_if(|(deferred, _)| Some(&*deferred) != desired.as_ref());
                    self.approved
                        .take_if(|approved| Some(&*approved) != desired.as_ref());
                }
            }
            Event::HostObserved(host) => self.host = Some(host.clone()),
            Event::StateWritten { problem } => self.state_problem = problem.is_some(),
            Event::SupervisorObserved(view) => {
                self.running = (**view).as_ref().ok().and_then(|view| view.release.clone());
                if let Ok(view) = &**view {
                    self.see(view);
                }
                if (**view).as_ref().is_ok_and(|view| self.is_ill(view)) {
                    self.accuse();
                }
            }
            Event::SupervisorAnswered { answer, .. } => match &**answer {
                Ok(SupervisorAnswer::Inspected(inspection)) => {
                    self.inspected.clone_from(&inspection.view.release);
                    self.see(&inspection.view);
                    if self.is_ill(&inspection.view) {
                        self.accuse();
                    }
                }
                Ok(_) => {}
                Err(_) => self.accuse(),
            },
            Event::ServiceExited { .. } | Event::Elapsed(crate::lifecycle::timer::Timer::Deadline) => {
                self.accuse();
            }
            Event::LocalRequested { call, .. } => self.hear(now, call, step, disk_works),
            _ => {}
        }
    }

    fn see(&mut self, view: &SupervisorView) {
        let applied = view.applied_release();
        self.posted
            .take_if(|posted| applied.is_some_and(|applied| applied != posted));
    }

    /// Whether what the Supervisor shows speaks against what is desired: only once it has been handed over, or was found
    /// to be there.
    fn is_ill(&self, view: &SupervisorView) -> bool {
        let desired = self.desired_commit();
        if desired.is_none() || (self.handed_over != desired && self.inspected != desired) {
            return false;
        }
        let is_bad = |container: &Container| !container.is_running() || is_kept(container);
        view.containers.len() < 2
            || view.containers.iter().any(is_bad)
            || view.release != self.desired_commit()
    }

    /// The Supervisor has lost its target: what is desired is to be put in place again, perhaps through the gate.
    pub(super) fn target_was_lost(&mut self) {
        self.accuse();
    }

    /// The Supervisor has taken the agent's target, after whatever others gave it while the call was under way.
    pub(super) fn was_handed_over(&mut self, commit: &str) {
        self.handed_over = Some(commit.to_owned());
    }

    /// Somebody else handed the Supervisor a target: what came of that may speak against what is desired.
    pub(super) fn was_displaced(&mut self, by: String) {
        self.handed_over = Some(by.clone());
        self.foreign.insert(by);
        self.accuse();
    }

    fn accuse(&mut self) {
        self.accused.extend(self.desired_commit());
    }

    fn hear(&mut self, now: Millis, call: &LocalCall, step: &Step, disk_works: bool) {
        let answers = step.effects.iter().filter_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(&**answer),
            _ => None,
        });
        for answer in answers {
            match (call, answer) {
                (LocalCall::Lock { name, request, .. }, LocalAnswer::Lock(_)) if disk_works => {
                    let ttl = Duration::from_secs(request.ttl_seconds.into());
                    self.leases.insert(name.clone(), now + ttl);
                }
                (LocalCall::Unlock { name, .. }, LocalAnswer::Unlocked) => {
                    self.leases.remove(name);
                }
                (LocalCall::Approve, LocalAnswer::Update(_)) => {
                    self.approved = self.desired_commit();
                    self.deferral = None;
                }
                (LocalCall::Defer(defer), LocalAnswer::Update(_)) => {
                    if let Some(commit) = self.desired_commit() {
                        self.approved = None;
                        let until = now + Duration::from_secs(defer.until_seconds.into());
                        self.deferral = Some((commit, until));
                    }
                }
                _ => {}
            }
        }
    }

    fn desired_commit(&self) -> Option<String> {
        self.desired.as_ref().map(|app| app.release.commit.clone())
    }

    /// Why an update to the desired release must not begin now.
    fn must_not_begin(&self, now: Millis) -> Option<&'static str> {
        let Some(app) = &self.desired else {
            return Some("nothing is desired");
        };
        let commit = &app.release.commit;
        let forced = app.policy.force.is_some();
        let deferred = self
            .deferral
            .as_ref()
            .is_some_and(|(deferred, until)| deferred == commit && *until > now);
        let full = self
            .host
            .as_ref()
            .is_some_and(|host| host.free_bytes < Some(64 << 20) && host.free_bytes.is_some());
        let foreign = self
            .host
            .as_ref()
            .is_some_and(|host| !host.foreign_locks.is_empty());
        if self.node.is_none() {
            Some("the node is not enrolled")
        } else if *commit == super::world::commit(UNFIT) {
            Some("the release lacks the agent")
        } else if [&self.handed_over, &self.posted].contains(&&Some(commit.clone())) {
            None
        } else if self.state_problem {
            Some("the state cannot be saved")
        } else if app.slot.as_ref().is_some_and(|slot| !slot.granted) {
            Some("the rollout has not given this node its turn")
        } else if full {
            Some("there is no space for it")
        } else if forced {
            None
        } else if app.policy.require_local_approval && self.approved.as_ref() != Some(commit) {
            Some("nobody approved it")
        } else if deferred {
            Some("it was deferred")
        } else if self.leases.values().any(|until| *until > now) {
            Some("a lease is held")
        } else if foreign {
            Some("a foreign lock file is there")
        } else {
            None
        }
    }

    /// Why this commit must not be handed to the Supervisor.
    fn must_not_hand_over(&self, commit: &str, force: bool) -> Option<String> {
        let desired = self.desired_commit().as_deref() == Some(commit);
        if !desired && !self.trusted.contains(commit) {
            return Some(format!("{commit} was handed over and never desired"));
        }
        if commit == super::world::commit(UNFIT) {
            return Some("a release without the agent was handed over".to_owned());
        }
        let forced = self
            .desired
            .as_ref()
            .is_some_and(|app| app.policy.force.is_some());
        (force && !forced).then(|| "locks were overridden without an order".to_owned())
    }

    /// In which ends this world may be, now that it has come to rest and all went well for a while.
    pub(crate) fn ends(&self) -> Ends {
        use AgentState::{Failed, Idle, RollbackNeeded, Unenrolled, Waiting};
        let trusted: Vec<_> = self.trusted.union(&self.foreign).cloned().collect();
        let fit = || {
            trusted
                .iter()
                .filter(|fit| **fit != commit(UNFIT))
                .cloned()
                .collect::<Vec<_>>()
        };
        let ends = |states: &[AgentState], targets| Ends {
            states: states.to_vec(),
            targets,
        };
        let Some(app) = &self.desired else {
            let state = if self.node.is_some() { Idle } else { Unenrolled };
            return ends(&[state], fit());
        };
        let desired = app.release.commit.clone();
        if desired == commit(UNFIT) {
            return ends(&[Failed], fit());
        }
        if self.accused.contains(&desired) {
            let mut states = vec![Idle, Failed, RollbackNeeded];
            if app.slot.is_some() || app.policy.require_local_approval {
                states.push(Waiting);
            }
            return ends(&states, fit());
        }
        let blocked = app.slot.as_ref().is_some_and(|slot| !slot.granted)
            || (app.policy.require_local_approval && self.approved.as_ref() != Some(&desired));
        if blocked && app.policy.force.is_none() {
            // It may run already, then nothing is to be begun.
            let states = if self.running.as_ref() == Some(&desired) {
                [Idle, Waiting]
            } else {
                [Waiting; 2]
            };
            return ends(&states, fit());
        }
        ends(&[Idle], vec![desired])
    }
}

/// In this world a container's id ends with that of its image.
fn is_kept(container: &Container) -> bool {
    !container
        .container_id
        .ends_with(&format!("-{}", container.image_id))
}

impl Ends {
    /// What is wrong with the end this world came to, if anything.
    pub(crate) fn violated_by(&self, world: &World) -> Option<String> {
        let state = world.machine.agent_state();
        let target = world.target_commit().unwrap_or_default();
        let right = self.states.contains(&state) && self.targets.contains(&target);
        (!right).then(|| format!("{self:?} are the ends, but it is {state} with {target}"))
    }
}

mod tests;
