//! Upgrades a checkpoint of version 1, which stored wire types. The wire contract only grows, so they still read it.

use crate::lifecycle::checkpoint::{Checkpoint, CheckpointError, VERSION};
use crate::lifecycle::update::record::UpdateError;
use crate::lifecycle::update::target::{Desired, Policy, Release};
use baseos_interfaces::{command, desired, heartbeat, status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

type Document = Map<String, Value>;
type Upgraded = Result<(), serde_json::Error>;

pub(super) fn upgrade(mut old: Value) -> Result<Checkpoint, CheckpointError> {
    let mut state = old["state"].take();
    let mut durable = old["book"].take();
    if let Some(state) = state.as_object_mut() {
        upgrade_state(state)?;
    }
    if let Some(durable) = durable.as_object_mut() {
        upgrade_durable(durable)?;
    }
    let new = json!({ "version": VERSION, "saved": old["saved"], "state": state, "durable": durable });
    Ok(serde_json::from_value(new)?)
}

fn upgrade_durable(durable: &mut Document) -> Upgraded {
    rename(durable, "good", "proven");
    convert::<desired::Desired, Desired>(durable, "desired")?;
    convert::<desired::Policy, Policy>(durable, "last_policy")?;
    convert::<desired::Release, Release>(durable, "proven")?;
    convert::<desired::Release, Release>(durable, "previous")?;
    let mut memory = durable.remove("memory").unwrap_or_default();
    for release in memory.as_object_mut().into_iter().flat_map(Map::values_mut) {
        convert_member::<status::UpdateError, UpdateError>(release, "known_bad")?;
    }
    durable.insert("memory".to_owned(), json!({ "releases": memory }));
    let events: Vec<heartbeat::NodeEvent> = take(durable, "outbox")?.unwrap_or_default();
    let events: Vec<_> = events
        .into_iter()
        .map(|event| json!({ "id": event.id, "at": event.at, "kind": event.kind, "data": event.data }))
        .collect();
    let last = durable.remove("last_event").unwrap_or_else(|| json!(0));
    durable.insert("outbox".to_owned(), json!({ "events": events, "last": last }));
    if let Some(commands) = durable.get_mut("commands").and_then(Value::as_object_mut) {
        let results: Vec<command::CommandResult> = take(commands, "results")?.unwrap_or_default();
        let results: Vec<_> = results
            .into_iter()
            .map(|result| {
                json!({
                    "id": result.id, "state": result.state, "finished_at": result.finished_at,
                    "message": result.message,
                })
            })
            .collect();
        commands.insert("results".to_owned(), json!(results));
    }
    Ok(())
}

fn upgrade_state(state: &mut Document) -> Upgraded {
    let Some((old_name, mut content)) = std::mem::take(state).into_iter().next() else {
        return Ok(());
    };
    if let Some(content) = content.as_object_mut() {
        upgrade_state_content(content)?;
    }
    let mut name = old_name;
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    state.insert(name, content);
    Ok(())
}

fn upgrade_state_content(content: &mut Document) -> Upgraded {
    rename(content, "application", "handover");
    rename(content, "vigil", "verification");
    convert::<status::UpdateError, UpdateError>(content, "error")?;
    if let Some(last) = content.get_mut("last") {
        convert_member::<status::UpdateError, UpdateError>(last, "error")?;
    }
    if let Some(update) = content.get_mut("update").and_then(Value::as_object_mut) {
        convert::<desired::Release, Release>(update, "release")?;
        convert::<status::UpdateError, UpdateError>(update, "last_error")?;
        let blocked: Vec<status::Blocker> = take(update, "blocked")?.unwrap_or_default();
        let blocked: Vec<_> = blocked
            .into_iter()
            .map(|blocker| {
                json!({
                    "kind": blocker.kind, "holder": blocker.holder, "reason": blocker.reason,
                    "since": blocker.since, "expires_at": blocker.expires_at,
                })
            })
            .collect();
        update.insert("blocked".to_owned(), json!(blocked));
    }
    if let Some(restore) = content.get_mut("restore").and_then(Value::as_object_mut) {
        rename(restore, "application", "handover");
        rename(restore, "vigil", "verification");
        convert::<desired::Release, Release>(restore, "release")?;
    }
    Ok(())
}

fn rename(document: &mut Document, from: &str, to: &str) {
    if let Some(value) = document.remove(from) {
        document.insert(to.to_owned(), value);
    }
}

/// Takes a member out as what it was written as; `None`: it is missing or `null`.
fn take<T: DeserializeOwned>(document: &mut Document, member: &str) -> Result<Option<T>, serde_json::Error> {
    document.remove(member).map_or(Ok(None), serde_json::from_value)
}

/// Replaces a member that was written as `Old` by the same as `New`.
fn convert<Old: DeserializeOwned, New: Serialize + for<'a> From<&'a Old>>(
    document: &mut Document,
    member: &str,
) -> Upgraded {
    if let Some(old) = take::<Old>(document, member)? {
        document.insert(member.to_owned(), serde_json::to_value(New::from(&old))?);
    }
    Ok(())
}

fn convert_member<Old: DeserializeOwned, New: Serialize + for<'a> From<&'a Old>>(
    document: &mut Value,
    member: &str,
) -> Upgraded {
    document
        .as_object_mut()
        .map_or(Ok(()), |document| convert::<Old, New>(document, member))
}
