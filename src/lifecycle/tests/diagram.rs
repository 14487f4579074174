//! The diagram is the machine: both artefacts in `state-diagrams/` come from walking the real one, and this test
//! fails when they drift. `UPDATE_DIAGRAMS=1 cargo test --lib diagram` writes them anew.

use crate::lifecycle::effect::Port;
use crate::lifecycle::states::State;
use crate::lifecycle::tests::world::{Action, CommandKind, LocalRequest, PolicyKind, Reply, View, World};
use crate::lifecycle::{Event, Step};
use baseos_interfaces::states::AgentState;
use statig::blocking::{State as _, Superstate as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Everything the walk tries in every situation.
fn alphabet() -> Vec<Action> {
    let mut actions = vec![
        Action::Elapse,
        Action::Exit,
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
            View::Unhealthy,
            View::Silent,
            View::Foreign,
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
    let busy = world.pending.contains_key(&Port::Supervisor);
    format!(
        "{} {update:?} {view:?} {busy} {:?} {:?} {:?} {:?} {} {}",
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
type Reaction = (BTreeSet<String>, BTreeSet<&'static str>);

#[derive(Default)]
struct Walk {
    situations: usize,
    leaves: BTreeSet<&'static str>,
    /// (decider, from, to) → causes.
    edges: BTreeMap<(String, &'static str, &'static str), BTreeSet<String>>,
    /// (decider, event) → (targets, effects).
    reactions: BTreeMap<(String, String), Reaction>,
}

impl Walk {
    fn note(&mut self, event: &Event, step: &Step) {
        for moved in &step.transitions {
            let key = (moved.by.clone(), moved.from.as_str(), moved.to.as_str());
            self.edges.entry(key).or_default().insert(moved.cause.clone());
            let reaction = self
                .reactions
                .entry((moved.by.clone(), moved.cause.clone()))
                .or_default();
            reaction.0.insert(moved.to.as_str().to_owned());
        }
        if !step.ignored && !step.handler.is_empty() {
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
    let ill = [
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
    ];
    let first = [&begin[..], &update(2, PolicyKind::Plain)].concat();
    let proven = [&first[..], &[Action::Elapse, Action::Elapse, good(Port::Cloudly)]].concat();
    let heard = [Action::Elapse, good(Port::Cloudly)];
    let bad = [&proven[..], &update(4, PolicyKind::Plain), &ill, &back].concat();
    let working = [&proven[..], &update(4, PolicyKind::Plain)].concat();
    let working = &working[..working.len() - 1];
    let overdue: Vec<_> = [good(Port::Cloudly), Action::Elapse].repeat(12);
    let scenarios = [
        [
            &bad[..],
            &[Action::Desire(2, PolicyKind::Plain)],
            &heard,
            &[Action::Desire(4, PolicyKind::Plain)],
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
        [
            &proven[..],
            &[Action::Desire(5, PolicyKind::Plain)],
            &heard,
            &back[..1],
        ]
        .concat(),
        first.clone(),
        bad.clone(),
        [&proven[..], &update(4, PolicyKind::ReportOnly), &ill].concat(),
        [&proven[..], &update(4, PolicyKind::NeedsApproval)].concat(),
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
fn walk() -> Walk {
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
    let mut queue: std::collections::VecDeque<_> = seeds().into_iter().map(played).collect();
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
                // A resumed machine's first step has no event of its own.
                if let Some(event) = event {
                    walk.note(event, step);
                }
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

/// Every leaf, by an exhaustive match: a new state that is forgotten here does not compile.
fn every_leaf() -> Vec<AgentState> {
    fn next(state: AgentState) -> Option<AgentState> {
        Some(match state {
            AgentState::Unenrolled => AgentState::Registering,
            AgentState::Registering => AgentState::Idle,
            AgentState::Idle => AgentState::Staging,
            AgentState::Staging => AgentState::Waiting,
            AgentState::Waiting => AgentState::Applying,
            AgentState::Applying => AgentState::Verifying,
            AgentState::Verifying => AgentState::Failed,
            AgentState::Failed => AgentState::RollbackNeeded,
            AgentState::RollbackNeeded | AgentState::Unknown => return None,
        })
    }
    std::iter::successors(Some(AgentState::Unenrolled), |state| next(*state)).collect()
}

/// The superstates above a leaf, asked of the running code.
fn ancestors(state: &mut State) -> Vec<&'static str> {
    let mut names = Vec::new();
    if let Some(mut first) = state.superstate() {
        names.push(first.name());
        if let Some(mut second) = first.superstate() {
            names.push(second.name());
            if let Some(third) = second.superstate() {
                names.push(third.name());
            }
        }
    }
    names
}

fn id(name: &str) -> String {
    name.split('-')
        .map(|part| part[..1].to_uppercase() + &part[1..])
        .collect()
}

fn node(name: &str) -> String {
    if ["root", "enrolled", "updating"].contains(&name) {
        name.to_owned()
    } else {
        id(name)
    }
}

fn mermaid(walk: &Walk, nesting: &BTreeMap<&'static str, Vec<&'static str>>) -> String {
    let mut out = String::from("stateDiagram-v2\n    [*] --> Unenrolled\n");
    let children = |of: &'static str| {
        nesting
            .iter()
            .filter(move |(_, above)| above.first() == Some(&of))
            .map(|(leaf, _)| *leaf)
    };
    let _ = writeln!(out, "    state enrolled {{");
    for leaf in children("enrolled") {
        let _ = writeln!(out, "        {}", id(leaf));
    }
    let _ = writeln!(out, "        state updating {{");
    for leaf in children("updating") {
        let _ = writeln!(out, "            {}", id(leaf));
    }
    let _ = writeln!(out, "        }}\n    }}");
    // An edge starts at whoever decided: once at a superstate, not once for each of its leaves.
    let mut merged: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for ((by, from, to), causes) in &walk.edges {
        let start = if by == "root" {
            (*from).to_owned()
        } else {
            by.clone()
        };
        merged
            .entry((start, (*to).to_owned()))
            .or_default()
            .extend(causes.iter().map(String::as_str));
    }
    for ((from, to), causes) in merged {
        let causes: Vec<_> = causes.into_iter().collect();
        let _ = writeln!(
            out,
            "    {} --> {}: {}",
            node(&from),
            node(&to),
            causes.join(", ")
        );
    }
    out
}

fn table(walk: &Walk) -> String {
    let mut out =
        String::from("| decided by | event | leads to | effects seen |\n| --- | --- | --- | --- |\n");
    for ((by, event), (targets, effects)) in &walk.reactions {
        if targets.is_empty() && effects.is_empty() {
            continue;
        }
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        let effects: Vec<_> = effects.iter().copied().collect();
        let _ = writeln!(
            out,
            "| {by} | {event} | {} | {} |",
            targets.join(", "),
            effects.join(", ")
        );
    }
    out
}

#[test]
fn the_diagram_is_the_machine() {
    let walk = walk();
    for leaf in every_leaf() {
        assert!(
            walk.leaves.contains(leaf.as_str()),
            "the walk never reached {leaf}"
        );
    }
    // Nesting is asked of states that were really reached.
    let mut nesting = BTreeMap::new();
    let mut runner = World::enrolled();
    let mut note = |world: &World| {
        let mut state = world.machine.state().clone();
        nesting.insert(state.name().as_str(), ancestors(&mut state));
    };
    note(&World::new(false));
    note(&World::new(true));
    let scenario = [
        Action::Desire(2, PolicyKind::NeedsApproval),
        Action::Elapse,
        Action::Answer(Port::Cloudly, Reply::Good),
        Action::Answer(Port::Supervisor, Reply::Good),
        Action::Request(LocalRequest::Approve),
        Action::Answer(Port::Supervisor, Reply::Good),
        Action::Answer(Port::Supervisor, Reply::Good),
        Action::Observe(View::Working),
        Action::Observe(View::Actual),
        Action::Elapse,
        Action::Elapse,
        Action::Elapse,
    ];
    note(&runner);
    for action in scenario {
        runner.act(action);
        note(&runner);
    }
    for number in [3, 2] {
        runner.settle();
        runner.act(Action::Desire(number, PolicyKind::ReportOnly));
        runner.settle();
        note(&runner);
    }
    let mut failing = World::enrolled();
    for action in [
        Action::Desire(2, PolicyKind::Plain),
        Action::Elapse,
        Action::Answer(Port::Cloudly, Reply::Good),
    ] {
        failing.act(action);
    }
    for reply in [Reply::Good, Reply::Good, Reply::Refused] {
        failing.act(Action::Answer(Port::Supervisor, reply));
        note(&failing);
    }
    for leaf in every_leaf() {
        assert!(
            nesting.contains_key(leaf.as_str()),
            "the nesting of {leaf} is not known: {nesting:?}"
        );
    }

    let document = format!(
        "<!-- Generated by `UPDATE_DIAGRAMS=1 cargo test --lib diagram`; a test fails when it drifts. -->\n\
         # The lifecycle\n\n\
         Walked by running the machine: an arrow starts at the state or superstate that decided, and bears the \
         events that led there. `entered` means that the decision follows at once from what is known on entry.\n\n\
         ```mermaid\n{}```\n\n## Who reacts to what\n\n\
         Root is asked last; what it does, it does in every state. `Publish` (to the local event stream), `Heartbeat` \
         and `Watch` follow from the step as a whole.\n\n{}",
        mermaid(&walk, &nesting),
        table(&walk),
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/state-diagrams/lifecycle.md");
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of this test, not of the program"
    )]
    if std::env::var_os("UPDATE_DIAGRAMS").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        walk.situations > 1000,
        "the walk is too small to mean anything: {}",
        walk.situations
    );
    assert!(
        committed == document,
        "state-diagrams/lifecycle.md has drifted from the machine: run `UPDATE_DIAGRAMS=1 cargo test --lib diagram`"
    );
}
