//! Which identity this node has: the one it registered for last once Cloudly has accepted a heartbeat of it, until then
//! perhaps still the one before. Which of the two a heartbeat was accepted for, the store knows by its token.

use crate::lifecycle::cloudly::heartbeat::Heartbeats;
use crate::lifecycle::cloudly::identity::{Fleet, Node};
use crate::lifecycle::context::Context;
use crate::lifecycle::effect::Effect;
use crate::lifecycle::event::Registration;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use baseos_interfaces::register::Approval;

/// Cloudly gave this node an identity.
pub(crate) fn enrol(l: &mut Shared, registration: &Registration, now: Stamp) {
    let before = l.durable.node.take();
    let is_same = |known: &Node| known.id.as_ref() == Some(&registration.node_id);
    let known = before.as_ref().filter(|before| is_same(before));
    let enrolled_epoch = known.map_or(l.durable.epoch, |known| known.enrolled_epoch);
    let is_new = known.is_none();
    let node = Node {
        id: Some(registration.node_id.clone()),
        approval: registration.approval,
        approval_reason: registration.approval_reason.clone(),
        fleet: registration.fleet.as_ref().map(|fleet| Fleet {
            id: fleet.id.clone(),
            name: fleet.name.clone(),
        }),
        confirmed: false,
        enrolled_epoch,
        min_heartbeat_seconds: registration.limits.min_heartbeat_seconds,
        max_body_bytes: registration.limits.max_body_bytes,
        heartbeat_seconds: registration.next_heartbeat_seconds,
    };
    // One that was never accepted is no identity to go back to, but the one before it may still be.
    if let Some(before) = before.filter(|before| before.confirmed) {
        l.durable.earlier_node = Some(before);
    }
    l.durable.join.registered();
    l.heartbeats = Heartbeats::default();
    take_up(l, node, is_new);
    l.hear_clock(registration.server_time, now);
}

/// Cloudly accepted a heartbeat as one of this node.
pub(crate) fn accepted_as(l: &mut Shared, id: &str, cx: &mut Context) {
    match l.durable.node.as_ref().map(|node| node.id.as_deref()) {
        Some(Some(known)) if known != id => go_back(l, id, cx),
        Some(None) => {
            if let Some(node) = &mut l.durable.node {
                node.id = Some(id.to_owned());
            }
        }
        _ => {}
    }
}

/// Cloudly accepts the identity before this one and not this one: better an old identity than none.
fn go_back(l: &mut Shared, id: &str, cx: &mut Context) {
    let earlier = l.durable.earlier_node.take();
    let earlier = earlier.filter(|earlier| earlier.id.as_deref() == Some(id));
    let node = earlier.unwrap_or_else(|| Node::unknown(Some(id)));
    let reason = format!("no heartbeat of the identity it led to was accepted; the node is {id} again");
    if let Some(token) = l.durable.join.refuse(&reason, cx.now.wall) {
        cx.emit(Effect::ForgetJoinToken { token });
    }
    take_up(l, node, true);
}

fn take_up(l: &mut Shared, node: Node, is_new: bool) {
    l.heartbeats.configure(&node);
    l.durable.node = Some(node);
    if is_new {
        // Revisions count per node: those of another identity say nothing about this one.
        l.durable.desired = None;
        l.durable.memory.restart_revisions();
    }
}

/// Gives the registration under way up: the node keeps the identity it has.
pub(crate) fn abandon(l: &mut Shared, cx: &mut Context) {
    if l.durable.join.registration().is_none() {
        // Nothing changes, so the record is not touched: an idle heartbeat writes nothing.
        return;
    }
    if let Some(token) = l.durable.join.abandon() {
        l.offer
            .take_if(|offer| offer.token.as_ref().is_ok_and(|offered| *offered == token));
        cx.emit(Effect::ForgetJoinToken { token });
    }
}

/// The first accepted heartbeat confirms the identity: the join token is spent, and the identity before is of no use.
/// A later one says that the identity is as good as before: none is needed in its place.
pub(crate) fn confirm(l: &mut Shared, approval: Option<Approval>, cx: &mut Context) {
    let Some(node) = l.durable.node.clone() else {
        return;
    };
    let approval = approval.filter(|approval| *approval != Approval::Unknown);
    let mut confirmed = node.clone();
    confirmed.confirmed = true;
    confirmed.approval = approval.unwrap_or(node.approval);
    if node.confirmed {
        abandon(l, cx);
    } else if let Some(token) = l.durable.join.spend() {
        cx.emit(Effect::ForgetJoinToken { token });
    }
    if confirmed != node {
        l.durable.node = Some(confirmed);
        l.durable.earlier_node = None;
    }
}
