//! What every step ends with: what follows from the state it ended in, whatever led there.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::{Effect, PollRate};
use crate::lifecycle::facts::AppState;
use crate::lifecycle::guard;
use crate::lifecycle::healing;
use crate::lifecycle::report::{health, heartbeat, local};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::timer::Timer;
use std::time::Duration;

pub(crate) fn end_step(l: &mut Shared, state: &State, cx: &mut Context) {
    healing::act::follow(l, state.is_at_rest(), cx);
    let found = health::examine(l, !state.changes_services(), cx.now);
    l.issues.refresh(found, cx.now.wall);
    l.lock_files.follow(&l.durable.leases, &mut l.in_flight, cx);
    match l.durable.leases.next_end() {
        Some(end) => l.timers.arm(Timer::Lease, end),
        None => l.timers.disarm(Timer::Lease),
    }
    guard::follow(l, matches!(state, State::Idle(_)), cx);
    set_poll_rate(l, state, cx);
    set_certificate_times(l, cx);
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

/// Leaves before every other effect, because one of them may be a call to Cloudly.
fn set_certificate_times(l: &mut Shared, cx: &mut Context) {
    let since = l.wall_clock(cx.now).certificates_since();
    if since != l.certificates_since && l.run.cloudly_over_tls {
        l.certificates_since = since;
        cx.effects.insert(0, Effect::SetCertificateTimes { since });
    }
}

/// How long a Supervisor that is at work by itself is polled fast without showing anything new.
const QUIET: Duration = Duration::from_secs(120);

/// The Supervisor is polled fast while something moves. One that applies something by itself (after its start, say)
/// counts until it has finished, or shows nothing new for a while: it may be backing off for ever.
fn set_poll_rate(l: &mut Shared, state: &State, cx: &mut Context) {
    let at_work = l.view().is_some_and(|view| view.app_state != AppState::Applied)
        && cx.now.boot.since(l.supervisor_changed) < QUIET;
    let rate = if state.is_moving() || l.durable.commands.is_busy() || at_work {
        PollRate::Fast
    } else {
        PollRate::Slow
    };
    if rate != l.poll_rate {
        l.poll_rate = rate;
        cx.emit(Effect::SetPollRate { rate });
    }
}
