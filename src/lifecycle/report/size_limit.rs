//! Fits a heartbeat into the size limit of its request. What is large by itself is cut first; then results and events
//! are chosen, oldest first, and what does not fit stays for the next heartbeat. Cloudly would refuse a heartbeat that
//! is too large, and the device would look offline.

use baseos_interfaces::command::CommandResult;
use baseos_interfaces::heartbeat::{Heartbeat, NodeEvent};
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use baseos_interfaces::rules::{DEPTH_MAX, is_shallow};
use baseos_interfaces::status::NodeStatus;
use serde::Serialize;
use serde_json::Value;

/// The smallest limit of Cloudly's that is believed, bytes: a status does not get much shorter.
const LIMIT_MIN: usize = 16 * 1024;
/// The largest `data` of an event, bytes.
const EVENT_DATA_MAX: usize = 4096;
/// The lengths that the message of a command is cut to in turn, bytes of text.
const MESSAGE_STEPS: [usize; 4] = [16 * 1024, 4096, 1024, 0];
/// The members' names, brackets and commas around results and events.
const FRAME: usize = 64;

/// The largest heartbeat, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeLimit(usize);

impl SizeLimit {
    /// As Cloudly says it, within what both sides agree on.
    pub(crate) fn new(max_body_bytes: u64) -> Self {
        let bytes = usize::try_from(max_body_bytes).unwrap_or(usize::MAX);
        Self(bytes.clamp(LIMIT_MIN, HEARTBEAT_MAX_BYTES))
    }

    /// The largest status: half of a heartbeat, so that there is always room for results and events.
    fn status(self) -> usize {
        self.0 / 2
    }
}

impl Default for SizeLimit {
    fn default() -> Self {
        Self(HEARTBEAT_MAX_BYTES)
    }
}

/// What went into a heartbeat, and whether something was left over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) last_event: Option<String>,
    pub(crate) results: Vec<String>,
    pub(crate) left_over: bool,
}

/// Leaves out of a status that is too large what there can be much of: lines of evidence, then images that are no longer
/// needed, then services.
pub(crate) fn cut_status(mut status: NodeStatus, limit: SizeLimit) -> NodeStatus {
    let most = limit.status();
    for keep in [32, 8, 0] {
        if length(&status) <= most {
            return status;
        }
        if let Some(error) = &mut status.update.error {
            error.evidence.truncate(keep);
            error.evidence.iter_mut().for_each(|line| keep_start(line, 256));
            keep_start(&mut error.message, 2048);
        }
        for issue in &mut status.health.issues {
            issue.detail.iter_mut().for_each(|detail| keep_start(detail, 512));
        }
        for blocker in &mut status.update.blocked_by {
            blocker
                .reason
                .iter_mut()
                .for_each(|reason| keep_start(reason, 512));
        }
    }
    if length(&status) > most
        && let Some(release) = &mut status.release
    {
        release.unused_images.clear();
    }
    if length(&status) > most
        && let Some(release) = &mut status.release
    {
        release.services.clear();
    }
    if length(&status) > most {
        status.update.blocked_by.truncate(8);
        status.network.ip_addresses.truncate(8);
        status.network.mac_addresses.truncate(8);
    }
    status
}

/// Cuts what Cloudly would not take in the data of an event: what is nested too deep, and long texts and lists where it is
/// too large.
pub(crate) fn cut_event_data(mut data: Value) -> Value {
    if !is_shallow(&data, DEPTH_MAX) {
        flatten(&mut data, DEPTH_MAX);
    }
    for (items, bytes) in [(32, 1024), (8, 256), (2, 64)] {
        if length(&data) <= EVENT_DATA_MAX {
            return data;
        }
        shorten(&mut data, items, bytes);
    }
    if length(&data) <= EVENT_DATA_MAX {
        data
    } else {
        Value::Null
    }
}

/// Replaces what is nested deeper than `depth`.
fn flatten(value: &mut Value, depth: usize) {
    if depth == 0 && (value.is_array() || value.is_object()) {
        *value = "…".into();
        return;
    }
    match value {
        Value::Array(list) => list.iter_mut().for_each(|item| flatten(item, depth - 1)),
        Value::Object(members) => members.values_mut().for_each(|member| flatten(member, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn shorten(value: &mut Value, items: usize, bytes: usize) {
    match value {
        Value::String(text) => keep_start(text, bytes),
        Value::Array(list) => {
            list.truncate(items);
            list.iter_mut().for_each(|item| shorten(item, items, bytes));
        }
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| shorten(member, items, bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Adds results and events, each as far as there is room, oldest first.
pub(crate) fn fill(
    heartbeat: &mut Heartbeat,
    limit: SizeLimit,
    results: impl Iterator<Item = CommandResult>,
    events: Vec<NodeEvent>,
) -> Filled {
    let mut filled = Filled::default();
    let mut results = results.peekable();
    if results.peek().is_none() && events.is_empty() {
        return filled;
    }
    let mut room = limit.0.saturating_sub(length(heartbeat) + FRAME);
    // At least half of it is for events, if there are any.
    let mut room_for_results = if events.is_empty() { room } else { room / 2 };
    for mut result in results {
        let size = cut_result(&mut result, room_for_results);
        if size > room_for_results {
            filled.left_over = true;
            break;
        }
        room_for_results -= size;
        room -= size;
        filled.results.push(result.id.clone());
        heartbeat.command_results.push(result);
    }
    for mut event in events {
        event.data = cut_event_data(event.data);
        let size = length(&event) + 1;
        if size > room {
            filled.left_over = true;
            break;
        }
        room -= size;
        filled.last_event = Some(event.id.clone());
        heartbeat.events.push(event);
    }
    filled
}

/// Cuts the message of a result until it fits; returns its size. The end of a log is its most relevant part.
fn cut_result(result: &mut CommandResult, room: usize) -> usize {
    for keep in MESSAGE_STEPS {
        let size = length(result) + 1;
        if size <= room {
            return size;
        }
        if let Some(message) = &mut result.message {
            keep_end(message, keep);
        }
    }
    length(result) + 1
}

/// The length as JSON, bytes.
fn length(value: &impl Serialize) -> usize {
    // The wire types consist of strings, numbers and maps with string keys; serde_json cannot fail on those.
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

fn keep_start(text: &mut String, keep: usize) {
    if text.len() > keep {
        text.truncate(text.floor_char_boundary(keep));
        text.push('…');
    }
}

pub(crate) fn keep_end(text: &mut String, keep: usize) {
    if text.len() > keep {
        let start = text.ceil_char_boundary(text.len() - keep);
        text.replace_range(..start, "…");
    }
}

#[cfg(test)]
mod tests;
