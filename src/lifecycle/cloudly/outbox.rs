//! Events for Cloudly's log, kept until it has accepted a heartbeat that carried them.

use crate::lifecycle::report::size_limit::cut_event_data;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::heartbeat::NodeEvent;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Events that are kept. Of more, the oldest transitions go first, because how an update ended matters longest.
const CAPACITY: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outbox {
    events: VecDeque<Event>,
    /// Numbers the events; with the run's id it makes theirs.
    last: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Event {
    id: String,
    /// Device's clock.
    at: Timestamp,
    kind: EventKind,
    data: serde_json::Value,
}

impl Outbox {
    /// The id has the random id of this run: numbers alone would come again after a disk was lost or restored, and
    /// Cloudly would drop such events as repetitions.
    pub(crate) fn push(&mut self, run_id: &str, now: Stamp, kind: EventKind, data: serde_json::Value) {
        self.last += 1;
        if self.events.len() >= CAPACITY {
            let transition = self
                .events
                .iter()
                .position(|event| event.kind == EventKind::Transition);
            self.events.remove(transition.unwrap_or(0));
        }
        self.events.push_back(Event {
            id: format!("e_{}_{}", run_id.trim_start_matches("r_"), self.last),
            at: now.wall,
            kind,
            data: cut_event_data(data),
        });
    }

    /// Everything that Cloudly has not accepted yet, oldest first.
    pub(crate) fn pending(&self) -> Vec<NodeEvent> {
        self.events.iter().map(NodeEvent::from).collect()
    }

    /// Cloudly has everything up to and including the event with this id.
    pub(crate) fn delivered(&mut self, last: &str) {
        if let Some(at) = self.events.iter().position(|event| event.id == *last) {
            self.events.drain(..=at);
        }
    }
}

impl From<&Event> for NodeEvent {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id.clone(),
            at: event.at,
            kind: event.kind.clone(),
            data: event.data.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
