//! Events for Cloudly's log, kept until it has accepted a heartbeat that carried them.

use crate::lifecycle::time::Stamp;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::EventKind;
use baseos_interfaces::heartbeat::NodeEvent;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Events that are kept; the oldest go first.
const CAPACITY: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outbox {
    events: VecDeque<Event>,
    /// Numbers the events; with the epoch it makes their ids.
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
    pub(crate) fn push(&mut self, epoch: u64, now: Stamp, kind: EventKind, data: serde_json::Value) {
        self.last += 1;
        if self.events.len() >= CAPACITY {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            id: format!("e_{epoch}_{}", self.last),
            at: now.wall,
            kind,
            data,
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
