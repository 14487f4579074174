use super::*;
use crate::storage::node_lifecycle::Lifecycle;
use crate::storage::node_session::Wanted;
use baseos_interfaces::register::Approval;
use baseos_interfaces::states::UpdateState;
use proptest::prelude::*;

/// The session of a node's token as it is at this version of the node.
fn session(node: usize, version: u64) -> NodeSession {
    NodeSession {
        token_mac: String::new(),
        token_id: format!("token_{node}"),
        token_is_next: false,
        token_command: None,
        token_used: true,
        node_id: format!("node_{node}"),
        replacement: None,
        approval: Approval::Approved,
        approval_decided: false,
        lifecycle: Lifecycle::Active,
        clone_suspected: false,
        desired_floor: version,
        status_hash: None,
        update_state: UpdateState::Idle,
        target_commit: None,
        running_commit: None,
        wanted: Wanted::default(),
    }
}

fn touched(node: usize) -> Touched {
    Touched::Node(format!("node_{node}"))
}

fn read(cache: &SessionCache, node: usize) -> Option<Reading> {
    match cache.look_up(&format!("token_{node}")) {
        Lookup::Kept(_) => None,
        Lookup::Missing(reading) => Some(reading),
    }
}

#[test]
fn a_session_is_kept_until_its_node_is_touched() {
    let cache = SessionCache::default();
    for node in 0..2 {
        cache.keep(read(&cache, node).unwrap(), session(node, 1));
    }
    cache.forget(&Touched::Nothing);
    assert!(read(&cache, 0).is_none() && read(&cache, 1).is_none());
    cache.forget(&touched(0));
    assert!(read(&cache, 0).is_some() && read(&cache, 1).is_none());
    cache.forget(&Touched::All);
    assert!(read(&cache, 1).is_some());
}

#[test]
fn both_tokens_of_a_node_are_forgotten() {
    let cache = SessionCache::default();
    let second = NodeSession {
        token_id: "token_1".to_owned(),
        ..session(0, 1)
    };
    cache.keep(read(&cache, 0).unwrap(), session(0, 1));
    cache.keep(read(&cache, 1).unwrap(), second);
    cache.forget(&touched(0));
    assert!(read(&cache, 0).is_some() && read(&cache, 1).is_some());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A heartbeat begins to read a session.
    Begin(usize),
    /// The oldest reading ends.
    End,
    /// A transaction commits.
    Commit(usize),
    /// What committed first, and was not forgotten yet, is forgotten.
    Forget,
    /// A transaction that changes all nodes commits, and is forgotten.
    All,
}

const NODES: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..NODES).prop_map(Step::Begin),
        Just(Step::End),
        (0..NODES).prop_map(Step::Commit),
        Just(Step::Forget),
        Just(Step::All),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn what_is_in_memory_is_never_older_than_the_last_change_that_was_answered(steps in steps()) {
        let cache = SessionCache::default();
        let mut versions = [0u64; NODES];
        let mut answered = [0u64; NODES];
        let mut readings = std::collections::VecDeque::new();
        let mut committed = std::collections::VecDeque::new();
        for step in steps {
            match step {
                Step::Begin(node) => {
                    if let Some(reading) = read(&cache, node) {
                        readings.push_back((reading, session(node, versions[node])));
                    }
                }
                Step::End => {
                    if let Some((reading, session)) = readings.pop_front() {
                        cache.keep(reading, session);
                    }
                }
                Step::Commit(node) => {
                    versions[node] += 1;
                    committed.push_back((node, versions[node]));
                }
                Step::Forget => {
                    if let Some((node, version)) = committed.pop_front() {
                        cache.forget(&touched(node));
                        answered[node] = version;
                    }
                }
                Step::All => {
                    versions.iter_mut().for_each(|version| *version += 1);
                    cache.forget(&Touched::All);
                    answered = versions;
                }
            }
            for (node, answered) in answered.iter().enumerate() {
                if let Lookup::Kept(session) = cache.look_up(&format!("token_{node}")) {
                    prop_assert!(session.desired_floor >= *answered, "node {node}");
                }
            }
        }
    }
}
