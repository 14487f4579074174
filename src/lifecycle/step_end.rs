//! What every step ends with: what follows from the state it ended in, whatever led there.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{Effect, PollRate};
use crate::lifecycle::facts::AppState;
use crate::lifecycle::report::{health, heartbeat, local};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::timer::Timer;

pub(crate) fn end_step(l: &mut Shared, state: &State, cx: &mut Context) {
    let found = health::examine(l, !state.changes_services(), cx.now);
    l.issues.refresh(found, cx.now.wall);
    l.lock_files.follow(&l.durable.leases, &mut l.in_flight, cx);
    match l.durable.leases.next_end() {
        Some(end) => l.timers.arm(Timer::Lease, end),
        None => l.timers.disarm(Timer::Lease),
    }
    set_poll_rate(l, state, cx);
    l.notices.publish(state.update(), cx);
    l.heartbeats
        .hear_progress(state.update().and_then(|update| *update.progress));
    for (request, query) in std::mem::take(&mut cx.replies) {
        let answer = Box::new(local::answer(query, l, state, cx));
        cx.emit(Effect::Reply { request, answer });
    }
    if state.is_enrolled() {
        heartbeat::send_if_due(l, state, cx);
    }
}

/// A Supervisor that applies something by itself (after its start, say) is polled fast until it has finished.
fn set_poll_rate(l: &mut Shared, state: &State, cx: &mut Context) {
    let at_work = l.view().is_some_and(|view| view.app_state != AppState::Applied);
    let rate = if state.update().is_some() || l.durable.commands.is_busy() || at_work {
        PollRate::Fast
    } else {
        PollRate::Slow
    };
    if rate != l.poll_rate {
        l.poll_rate = rate;
        cx.emit(Effect::SetPollRate { rate });
    }
}
