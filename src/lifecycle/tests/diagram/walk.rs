//! Walks the machine breadth first over situations, and notes what it does in each.

use super::scenarios::scenarios;
use crate::lifecycle::effect::Port;
use crate::lifecycle::states::State;
use crate::lifecycle::tests::world::{
    Action, CommandKind, Line, LocalRequest, PolicyKind, Reply, View, World,
};
use crate::lifecycle::{Event, Step};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Everything the walk tries in every situation.
fn alphabet() -> Vec<Action> {
    let mut actions = vec![
        Action::Elapse,
        Action::Exit,
        Action::Post(1),
        Action::LoseTarget,
        Action::Log(Line::Missing),
        Action::Log(Line::PullDone),
        Action::Desire(0, PolicyKind::Plain),
        Action::Desire(2, PolicyKind::Plain),
        Action::Desire(2, PolicyKind::NeedsApproval),
        Action::Desire(3, PolicyKind::Plain),
        Action::Desire(3, PolicyKind::ReportOnly),
        Action::Desire(3, PolicyKind::Forced),
        Action::Desire(5, PolicyKind::Plain),
        Action::Command(CommandKind::Reboot),
        Action::Host {
            locked: true,
            full: false,
        },
        Action::Host {
            locked: false,
            full: false,
        },
        Action::Disk { works: false },
        Action::Disk { works: true },
        Action::Offer {
            token: 1,
            replace: false,
        },
        Action::Offer {
            token: 2,
            replace: true,
        },
        Action::Restart { reboot: false },
    ];
    actions.extend(
        [
            View::Actual,
            View::Working,
            View::Stuck,
            View::Unhealthy,
            View::Absent,
            View::Silent,
            View::Foreign,
            View::Unreplaced,
        ]
        .map(Action::Observe),
    );
    actions.extend(
        [
            LocalRequest::Status,
            LocalRequest::Check,
            LocalRequest::Approve,
            LocalRequest::Defer,
            LocalRequest::Lock,
            LocalRequest::Unlock,
        ]
        .map(Action::Request),
    );
    for reply in [Reply::Good, Reply::Refused, Reply::Gone, Reply::Unavailable] {
        actions.extend(
            [Port::Cloudly, Port::Supervisor, Port::LockFiles].map(|port| Action::Answer(port, reply)),
        );
    }
    actions
}

/// What distinguishes two situations for the walk.
fn situation(world: &World) -> String {
    let l = world.machine.shared();
    let state = world.machine.state();
    let update = state
        .update()
        .map(|update| (update.commit().to_owned(), update.blocked().is_empty()));
    let view = l.supervisor.as_ref().map(|view| {
        view.as_ref()
            .map(|view| (view.app_state, view.release.clone()))
            .ok()
    });
    let no_image = matches!(state, State::Failed(failed) if failed.waits_for_image());
    let busy = world.pending.contains_key(&Port::Supervisor);
    format!(
        "{} {no_image} {update:?} {view:?} {busy} {:?} {:?} {:?} {:?} {} {}",
        state.name(),
        world
            .undelivered()
            .and_then(|desired| desired.app.as_ref())
            .map(|app| (&app.release.commit, &app.policy)),
        l.durable.proven.as_ref().map(|good| &good.commit),
        l.durable.desired_app().map(|app| (
            &app.release.commit,
            &app.policy.rolls_back,
            app.policy.is_forced()
        )),
        world.machine.next_timer().map(|(timer, _)| timer),
        l.durable.leases.owners().is_empty(),
        l.heartbeats.is_disowned(),
    )
}

/// Targets, and effects that were seen.
pub(super) type Reaction = (BTreeSet<String>, BTreeSet<&'static str>);

#[derive(Default)]
pub(super) struct Walk {
    pub(super) situations: usize,
    pub(super) leaves: BTreeSet<&'static str>,
    /// (decider, from, to) → causes.
    pub(super) edges: BTreeMap<(String, &'static str, &'static str), BTreeSet<String>>,
    /// (decider, event) → (targets, effects).
    pub(super) reactions: BTreeMap<(String, String), Reaction>,
}

impl Walk {
    /// A resumed machine's first step has no event.
    fn note(&mut self, event: Option<&Event>, step: &Step) {
        for moved in &step.transitions {
            let key = (moved.by.clone(), moved.from.as_str(), moved.to.as_str());
            self.edges.entry(key).or_default().insert(moved.cause.clone());
            let reaction = self
                .reactions
                .entry((moved.by.clone(), moved.cause.clone()))
                .or_default();
            reaction.0.insert(moved.to.as_str().to_owned());
        }
        if let Some(event) = event
            && !step.ignored
            && !step.handler.is_empty()
        {
            let key = (step.handler.to_owned(), event.name().to_owned());
            self.reactions
                .entry(key)
                .or_default()
                .1
                .extend(step.effects.iter().map(|effect| effect.name()));
        }
    }
}

/// Where the walk sets out from: every moment of a good update, of a bad one, and of one that is given up.
fn seeds() -> Vec<Vec<Action>> {
    let good = |port| Action::Answer(port, Reply::Good);
    let begin = [
        good(Port::Cloudly),
        Action::Observe(View::Actual),
        Action::Elapse,
        good(Port::Cloudly),
    ];
    let update = |number, rule| {
        let mut path = vec![
            Action::Desire(number, rule),
            Action::Elapse,
            good(Port::Cloudly),
            good(Port::Supervisor),
        ];
        path.extend([
            good(Port::Supervisor),
            good(Port::Supervisor),
            Action::Observe(View::Working),
        ]);
        path.push(Action::Observe(View::Actual));
        path
    };
    let unhealthy = [
        View::Unhealthy,
        View::Actual,
        View::Unhealthy,
        View::Actual,
        View::Unhealthy,
    ]
    .map(Action::Observe);
    let back = [
        good(Port::Supervisor),
        good(Port::Supervisor),
        Action::Observe(View::Actual),
        Action::Elapse,
        good(Port::Supervisor),
    ];
    let first = [&begin[..], &update(2, PolicyKind::Plain)].concat();
    // The last look is taken when the time of health is over, which is the second deadline.
    let last_look = [
        Action::Elapse,
        Action::Elapse,
        good(Port::Cloudly),
        good(Port::Supervisor),
    ];
    let proven = [&first[..], &last_look].concat();
    // The next heartbeat waits for Cloudly's minimum, and another deadline may come first.
    let heard = [
        Action::Elapse,
        good(Port::Cloudly),
        Action::Elapse,
        good(Port::Cloudly),
    ];
    let bad = [&proven[..], &update(4, PolicyKind::Plain), &unhealthy, &back].concat();
    let working = [&proven[..], &update(4, PolicyKind::Plain)].concat();
    let working = &working[..working.len() - 1];
    let overdue: Vec<_> = [good(Port::Cloudly), Action::Elapse].repeat(24);
    let reported = [&proven[..], &update(4, PolicyKind::ReportOnly), &unhealthy].concat();
    // Never handed over, because the Supervisor did not answer: held up for as long as release 1 goes on running.
    let held_up = [
        &begin[..],
        &[Action::Desire(2, PolicyKind::Plain)],
        &heard,
        &[good(Port::Supervisor)],
        &overdue,
    ]
    .concat();
    let refused = [
        &proven[..],
        &[Action::Desire(5, PolicyKind::Plain)],
        &heard,
        &back[..1],
    ]
    .concat();
    let superseded = [
        working,
        &[Action::Desire(2, PolicyKind::NeedsApproval)],
        &heard,
        &back[..1],
    ]
    .concat();
    let displaced_again = [
        good(Port::Supervisor),
        good(Port::Supervisor),
        Action::Post(1),
        Action::Restart { reboot: false },
        good(Port::Supervisor),
    ];
    let displaced = [working, &displaced_again[2..]].concat();
    let no_image = [working, &[Action::Log(Line::Missing)]].concat();
    let scenarios = [
        [
            &bad[..],
            &[Action::Desire(2, PolicyKind::Plain)],
            &heard,
            &heard,
            &[Action::Desire(4, PolicyKind::Plain)],
            &heard,
            &heard,
        ]
        .concat(),
        [working, &[Action::Desire(0, PolicyKind::Plain)], &heard].concat(),
        [
            working,
            &overdue,
            &back[..2],
            &[Action::Observe(View::Working)],
            &overdue,
        ]
        .concat(),
        refused.clone(),
        [
            &proven[..],
            &[Action::Desire(5, PolicyKind::Plain)],
            &heard,
            &back[..1],
        ]
        .concat(),
        [working, &[Action::Observe(View::Unreplaced)], &back].concat(),
        first.clone(),
        bad.clone(),
        // What the last look shows is not what was seen last.
        [&first[..], &[Action::Turn(View::Unhealthy)], &last_look].concat(),
        [&first[..], &[Action::Turn(View::Unreplaced)], &last_look].concat(),
        [&first[..], &[Action::Turn(View::Foreign)], &last_look].concat(),
        [
            &proven[..],
            &update(4, PolicyKind::Plain),
            &unhealthy[..4],
            &[Action::Turn(View::Unhealthy)],
            &last_look,
        ]
        .concat(),
        [&reported[..], &[Action::Desire(0, PolicyKind::Plain)], &heard].concat(),
        [
            &reported[..],
            &[Action::Desire(5, PolicyKind::Plain)],
            &heard,
            &back[..1],
        ]
        .concat(),
        [&held_up[..], &[Action::Desire(1, PolicyKind::Plain)], &heard].concat(),
        [
            &refused[..],
            &update(4, PolicyKind::ReportOnly),
            &unhealthy,
            &[Action::Desire(5, PolicyKind::Plain)],
            &heard,
        ]
        .concat(),
        [
            &bad[..],
            &[Action::Desire(5, PolicyKind::Plain)],
            &heard,
            &back[..1],
            &[Action::Desire(4, PolicyKind::Plain)],
            &heard,
        ]
        .concat(),
        [&no_image[..], &[Action::Desire(0, PolicyKind::Plain)], &heard].concat(),
        [
            &no_image[..],
            &[Action::Desire(4, PolicyKind::NeedsApproval)],
            &heard,
        ]
        .concat(),
        [&proven[..], &update(4, PolicyKind::NeedsApproval)].concat(),
        // Superseded after its hand-over, by one that has to wait.
        superseded.clone(),
        [&superseded[..], &[Action::Observe(View::Actual)], &unhealthy].concat(),
        [
            &superseded[..superseded.len() - 1],
            &[Action::Observe(View::Actual)],
            &unhealthy,
        ]
        .concat(),
        // Displaced, and the agent has started since: until no attempt is left.
        displaced.clone(),
        [&displaced[..], &[good(Port::Cloudly)], &displaced_again].concat(),
        [
            &first[..first.len() - 3],
            &[Action::Answer(Port::Supervisor, Reply::Refused)],
        ]
        .concat(),
    ];
    scenarios
        .iter()
        .flat_map(|scenario| (0..=scenario.len()).map(|end| scenario[..end].to_vec()))
        .collect()
}

/// Situations looked at from each leaf state: enough to see all it does, few enough to take seconds.
const PER_LEAF: usize = 240;

/// Breadth first over situations.
pub(super) fn walk() -> Walk {
    let mut walk = Walk::default();
    let mut seen = BTreeSet::new();
    let mut per_leaf = BTreeMap::new();
    let played = |path: Vec<Action>| {
        let mut world = World::new(true);
        path.into_iter().for_each(|action| {
            world.act(action);
        });
        world
    };
    for world in scenarios() {
        for (event, step) in &world.steps {
            walk.note(event.as_ref(), step);
        }
    }
    let mut queue: VecDeque<_> = seeds().into_iter().map(played).collect();
    while let Some(mut from) = queue.pop_front() {
        // What led here has been noted; only what follows is new.
        from.steps.clear();
        from.log.clear();
        from.effects.clear();
        for action in alphabet() {
            let mut world = from.clone();
            if !world.act(action) {
                continue;
            }
            for (event, step) in &world.steps {
                walk.note(event.as_ref(), step);
            }
            walk.leaves.insert(world.machine.agent_state().as_str());
            let from_here = per_leaf.entry(world.machine.agent_state().as_str()).or_insert(0);
            if seen.insert(situation(&world)) && *from_here < PER_LEAF {
                *from_here += 1;
                queue.push_back(world);
            }
        }
    }
    walk.situations = seen.len();
    walk
}
