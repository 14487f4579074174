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

/// Chooses among what is stored: `newest`, else `earlier`, which an agent of an earlier version wrote before the one of
/// `newest` proved itself, else a new one for the identity that the credentials are of.
pub fn recover(
    newest: Option<Value>,
    earlier: Option<Value>,
    has_credentials: bool,
    guard: Option<&GuardFacts>,
) -> Loaded {
    let Some(newest) = newest else {
        return Loaded::default();
    };
    let error = match migrate(newest.clone()) {
        Ok(checkpoint) => {
            return Loaded {
                checkpoint,
                problem: None,
            };
        }
        Err(error) => error,
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
    use crate::lifecycle::tests::world::World;
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

    #[test]
    fn a_checkpoint_that_reads_is_used_as_it_is() {
        let loaded = recover(Some(stored()), Some(json!({})), true, None);
        assert_eq!(loaded.problem, None);
        assert_eq!(loaded.checkpoint, migrate(stored()).unwrap());
        let new = recover(None, None, false, None);
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
            let loaded = recover(Some(unusable), None, true, None);
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
            (of_id, "node_1"),
            (with("/durable/node", json!(7)), "node_unknown"),
            (json!([]), "node_unknown"),
        ] {
            let loaded = recover(Some(unusable), None, true, None);
            assert_eq!(loaded.checkpoint.node_id(), Some(id));
        }
        let without = recover(Some(json!([])), None, false, None).checkpoint;
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
        let mut guard = recover(Some(json!([])), None, true, Some(&guard))
            .checkpoint
            .durable
            .guard;
        assert!(!guard.note_restored(6));
        assert!(guard.note_restored(7) && !guard.note_restored(7));
        assert!(guard.note_restored(8), "the trial that was under way");
    }

    #[test]
    fn an_agent_that_came_back_uses_what_it_wrote_before_a_newer_one_ran() {
        let newer = of_version(VERSION + 1, stored());
        let loaded = recover(Some(newer.clone()), Some(stored()), true, None);
        assert_eq!(loaded.checkpoint, migrate(stored()).unwrap());
        assert!(loaded.problem.unwrap().contains("before the update"));
        let unusable = of_version(VERSION + 1, stored());
        let loaded = recover(Some(newer), Some(unusable), true, None);
        assert_eq!(loaded.checkpoint.durable.desired, None);
    }
}
