//! The heartbeat that leaves at the end of a step.

use crate::lifecycle::cloudly::heartbeat::Sent;
use crate::lifecycle::context::{Context, HeartbeatKind};
use crate::lifecycle::effect::Effect;
use crate::lifecycle::report::size_limit::{SizeLimit, cut_status, fill};
use crate::lifecycle::report::status::node_status;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::hash::status_hash;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::status::NodeStatus;

/// Sends the heartbeat that was asked for, or one that is urgent; arms the timer for one that is urgent but not yet
/// allowed.
pub(crate) fn send_if_due(l: &mut Shared, state: &State, cx: &mut Context) {
    if cx.heartbeat.is_none() && !l.stopping {
        match l.heartbeats.urgent_at(cx.now.boot) {
            Some(at) if at <= cx.now.boot => cx.send_heartbeat(HeartbeatKind::Regular),
            Some(at) if !l.in_flight.cloudly_busy() => {
                let due = l.timers.get(Timer::Heartbeat).map_or(at, |due| due.min(at));
                l.timers.arm(Timer::Heartbeat, due);
            }
            _ => {}
        }
    }
    let Some(kind) = cx.heartbeat.filter(|_| !l.in_flight.cloudly_busy()) else {
        return;
    };
    if l.stopping && kind == HeartbeatKind::Regular {
        return;
    }
    let op = l.in_flight.begin_cloudly();
    l.timers.disarm(Timer::Heartbeat);
    let heartbeat = Box::new(write(l, state, kind, cx));
    cx.emit(Effect::Heartbeat { op, heartbeat });
}

fn write(l: &mut Shared, state: &State, kind: HeartbeatKind, cx: &Context) -> Heartbeat {
    let limit = l.heartbeats.size_limit();
    let (status_hash, status) = status_to_send(l, state, limit);
    let goodbye = kind == HeartbeatKind::Goodbye;
    let mut heartbeat = Heartbeat {
        protocol_version: PROTOCOL_VERSION,
        run_id: l.run.run_id.clone(),
        sequence: l.heartbeats.next_sequence(),
        // The clock is worth its bytes only beside a status; skew is judged from those.
        sent_at: status.is_some().then_some(cx.now.wall),
        status_hash: status_hash.clone(),
        observed_revision: l.durable.revision(),
        status,
        events: Vec::new(),
        command_results: Vec::new(),
        goodbye,
    };
    let carried = fill(
        &mut heartbeat,
        limit,
        l.durable.commands.results(),
        l.durable.outbox.pending(),
    );
    let sent = Sent {
        hash: status_hash,
        carried,
        goodbye,
    };
    l.heartbeats.begin(sent, cx.now.boot);
    heartbeat
}

/// The hash of the status, and the status itself unless Cloudly has it.
fn status_to_send(l: &mut Shared, state: &State, limit: SizeLimit) -> (String, Option<Box<NodeStatus>>) {
    let whole = node_status(l, state);
    // Measuring and hashing it was a quarter of the agent's work for a heartbeat, and most find nothing new.
    if let Some(hash) = l.heartbeats.hash_of(&whole)
        && l.heartbeats.knows(hash)
    {
        return (hash.to_owned(), None);
    }
    let cut = cut_status(whole.clone(), limit);
    let hash = status_hash(&cut);
    l.heartbeats.note_hash(whole, hash.clone());
    let status = (!l.heartbeats.knows(&hash)).then(|| Box::new(cut));
    (hash, status)
}
