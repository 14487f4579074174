//! Starting when the stored checkpoint cannot be used: a newer agent wrote it, or it does not read. The node keeps its
//! identity and finds out the rest anew; nothing is half read, because members may have another meaning.

use crate::lifecycle::checkpoint::Checkpoint;
use crate::lifecycle::cloudly::identity::Node;
use crate::lifecycle::durable::Durable;
use crate::lifecycle::facts::GuardFacts;
use crate::lifecycle::guard::record::GuardRecord;
use crate::lifecycle::migrate::migrate;
use crate::lifecycle::states::State;
use crate::lifecycle::states::idle::Idle;
use serde_json::Value;

/// The checkpoint to start from.
#[derive(Debug, Default)]
pub struct Loaded {
    pub checkpoint: Checkpoint,
    /// Why it is not the newest that was stored; `None`: it is.
    pub problem: Option<String>,
}

/// What the state file holds.
#[derive(Debug, Default)]
pub struct Stored {
    pub newest: Option<Value>,
    /// What an agent of an earlier version wrote before the one of `newest` proved itself.
    pub earlier: Option<Value>,
    pub has_credentials: bool,
    /// The version of the file, where a newer agent wrote it.
    pub newer_file: Option<u32>,
}

/// Chooses among what is stored: `newest`, else `earlier`, else a new one for the identity that the credentials are of.
pub fn recover(stored: Stored, guard: Option<&GuardFacts>) -> Loaded {
    let Stored {
        newest,
        earlier,
        has_credentials,
        newer_file,
    } = stored;
    let (newest, error) = match (newest, newer_file) {
        (newest, Some(version)) => {
            let error = format!("a newer agent wrote the state file (version {version})");
            (newest.unwrap_or_default(), error)
        }
        (None, None) => return Loaded::default(),
        (Some(newest), None) => match migrate(newest.clone()) {
            Ok(checkpoint) => {
                return Loaded {
                    checkpoint,
                    problem: None,
                };
            }
            Err(error) => (newest, error.to_string()),
        },
    };
    if let Some(Ok(checkpoint)) = earlier.map(migrate) {
        return Loaded {
            checkpoint,
            problem: Some(format!("{error}; the one from before the update is used")),
        };
    }
    let kept = if has_credentials {
        "identity and tokens are kept, the rest is found out anew"
    } else {
        "this node is not enrolled"
    };
    Loaded {
        checkpoint: from_facts(&newest, has_credentials, guard),
        problem: Some(format!("{error}; {kept}")),
    }
}

fn from_facts(stored: &Value, has_credentials: bool, guard: Option<&GuardFacts>) -> Checkpoint {
    if !has_credentials {
        return Checkpoint::default();
    }
    let restored = guard.and_then(|guard| guard.restored.as_ref());
    let epoch = stored.pointer("/durable/epoch").and_then(Value::as_u64);
    Checkpoint {
        state: State::Idle(Idle::default()),
        durable: Durable {
            epoch: epoch.unwrap_or(0),
            node: Some(node(stored)),
            guard: GuardRecord::after_loss(restored.map(|restored| restored.number)),
            ..Durable::default()
        },
        ..Checkpoint::default()
    }
}

/// Cloudly knows the node by its token; what is kept here is what people know it by.
fn node(stored: &Value) -> Node {
    let stored = stored.pointer("/durable/node");
    let whole = stored.and_then(|node| serde_json::from_value(node.clone()).ok());
    let id = stored.and_then(|node| node.get("id")?.as_str());
    whole.unwrap_or_else(|| Node::unknown(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::checkpoint::VERSION;
    use crate::lifecycle::guard::files::Restored;
    use crate::lifecycle::tests::states::last_answer;
    use crate::lifecycle::tests::world::{Action, LocalRequest, World};
    use baseos_interfaces::states::AgentState;
    use serde_json::json;

    /// What an enrolled agent stored.
    fn stored() -> Value {
        serde_json::to_value(World::enrolled().disk).unwrap()
    }

    fn of_version(version: u32, mut checkpoint: Value) -> Value {
        checkpoint["version"] = version.into();
        checkpoint
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut checkpoint = stored();
        *checkpoint.pointer_mut(pointer).unwrap() = value;
        checkpoint
    }

    fn with_credentials(newest: Value, earlier: Option<Value>) -> Loaded {
        let stored = Stored {
            newest: Some(newest),
            earlier,
            has_credentials: true,
            newer_file: None,
        };
        recover(stored, None)
    }

    /// Members of a newer file may have another meaning, even where they read.
    #[test]
    fn of_a_newer_agents_state_file_only_the_identity_is_used() {
        let newer = |newest, earlier| {
            let stored = Stored {
                newest,
                earlier,
                has_credentials: true,
                newer_file: Some(2),
            };
            recover(stored, None)
        };
        let loaded = newer(Some(stored()), None);
        let problem = loaded.problem.unwrap();
        assert!(
            problem.starts_with("a newer agent wrote the state file (version 2)"),
            "{problem}"
        );
        assert_eq!(
            loaded.checkpoint.durable.node,
            migrate(stored()).unwrap().durable.node
        );
        assert_eq!(loaded.checkpoint.agent_state(), AgentState::Idle);
        assert_eq!(newer(None, None).checkpoint.agent_state(), AgentState::Idle);
        let earlier = newer(Some(json!({ "n": 3 })), Some(stored()));
        assert_eq!(earlier.checkpoint, migrate(stored()).unwrap());
    }

    #[test]
    fn a_checkpoint_that_reads_is_used_as_it_is() {
        let loaded = with_credentials(stored(), Some(json!({})));
        assert_eq!(loaded.problem, None);
        assert_eq!(loaded.checkpoint, migrate(stored()).unwrap());
        let new = recover(Stored::default(), None);
        assert_eq!((new.checkpoint, new.problem), (Checkpoint::default(), None));
    }

    #[test]
    fn an_unusable_checkpoint_keeps_the_identity_and_nothing_else() {
        let node = migrate(stored()).unwrap().durable.node;
        for unusable in [
            of_version(VERSION + 1, stored()),
            with("/durable/desired", json!("a text")),
            with("/state", json!({ "aStateOfANewerAgent": {} })),
        ] {
            let loaded = with_credentials(unusable, None);
            let checkpoint = loaded.checkpoint;
            assert_eq!(checkpoint.agent_state(), AgentState::Idle);
            assert_eq!(checkpoint.durable.node, node);
            assert_eq!(
                (checkpoint.durable.desired, checkpoint.durable.proven),
                (None, None)
            );
            let problem = loaded.problem.unwrap();
            assert!(problem.contains("identity and tokens are kept"), "{problem}");
        }
    }

    #[test]
    fn an_identity_that_does_not_read_is_the_one_of_the_token() {
        let of_id = with("/durable/node", json!({ "id": "node_1" }));
        for (unusable, id) in [
            (of_id, Some("node_1")),
            (with("/durable/node", json!(7)), None),
            (json!([]), None),
        ] {
            let loaded = with_credentials(unusable, None);
            assert_eq!(loaded.checkpoint.node_id(), id);
            assert!(loaded.checkpoint.durable.node.is_some());
        }
        let loaded = with_credentials(json!([]), None);
        assert_eq!(loaded.checkpoint.node_in_words(), "not known");
        let mut world = World::resumed(loaded.checkpoint, 1);
        for (request, told) in [
            (LocalRequest::Status, "node_id: None"),
            (LocalRequest::Doctor, "enrolled; its id is not known"),
        ] {
            world.act(Action::Request(request));
            let answer = format!("{:?}", last_answer(&world));
            assert!(answer.contains(told), "{answer}");
        }
        let without = Stored {
            newest: Some(json!([])),
            ..Stored::default()
        };
        let without = recover(without, None).checkpoint;
        assert_eq!(without.agent_state(), AgentState::Unenrolled);
    }

    /// An agent that came back does not put the release in place again that the guard took out of service.
    #[test]
    fn what_the_guard_restored_is_noted_once_after_the_loss() {
        let guard = GuardFacts {
            restored: Some(Restored {
                number: 7,
                commit: "b2b2b2b2".to_owned(),
                to: "a1a1a1a1".to_owned(),
                evidence: Vec::new(),
                at: World::new(false).now().wall,
                accepted: true,
                noted: false,
            }),
            ..GuardFacts::default()
        };
        let lost = Stored {
            newest: Some(json!([])),
            has_credentials: true,
            ..Stored::default()
        };
        let mut guard = recover(lost, Some(&guard)).checkpoint.durable.guard;
        assert!(!guard.note_restored(6));
        assert!(guard.note_restored(7) && !guard.note_restored(7));
        assert!(guard.note_restored(8), "the trial that was under way");
    }

    #[test]
    fn an_agent_that_came_back_uses_what_it_wrote_before_a_newer_one_ran() {
        let newer = of_version(VERSION + 1, stored());
        let loaded = with_credentials(newer.clone(), Some(stored()));
        assert_eq!(loaded.checkpoint, migrate(stored()).unwrap());
        assert!(loaded.problem.unwrap().contains("before the update"));
        let unusable = of_version(VERSION + 1, stored());
        let loaded = with_credentials(newer, Some(unusable));
        assert_eq!(loaded.checkpoint.durable.desired, None);
    }
}
