//! Root: what every state has in common. Facts are absorbed before the states are asked, and reports are written
//! after they have decided.

use super::State;
use crate::lifecycle::beats::UnderWay;
use crate::lifecycle::context::{Beat, Context, Query};
use crate::lifecycle::doctor;
use crate::lifecycle::effect::{Effect, LocalAnswer, Pace, RequestId};
use crate::lifecycle::event::{Event, LocalCall};
use crate::lifecycle::facts::{AppState, JoinOffer, SupervisorError, SupervisorErrorKind};
use crate::lifecycle::machine::Lifecycle;
use crate::lifecycle::report;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::hash::status_hash;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::local::Notice;
use baseos_interfaces::problem::{Problem, code};
use statig::Outcome;
use std::time::Duration;

/// The last to be asked. Every event is named: one that nobody wants is counted, it never vanishes.
pub(super) fn handle(l: &mut Lifecycle, event: &Event, cx: &mut Context) -> Outcome<State> {
    match event {
        Event::LocalRequested { request, call } => local(l, *request, call, cx),
        Event::Elapsed(Timer::Lease) => {
            l.timers.disarm(Timer::Lease);
            expire_leases(l, cx);
        }
        Event::StopRequested | Event::Elapsed(Timer::Goodbye) => {
            l.stopping = true;
            l.timers.disarm(Timer::Goodbye);
            cx.emit(Effect::Stop);
        }
        // Absorbed already; a state that wants more has taken more. An exit is of interest to a vigil alone.
        Event::Observed(_)
        | Event::ServiceExited { .. }
        | Event::HostObserved(_)
        | Event::StateWritten { .. }
        | Event::LockFilesSettled { .. }
        | Event::Withheld { .. }
        | Event::ConsentChanged
        | Event::DesiredChanged
        | Event::Entered
        | Event::StepEnded => {}
        Event::JoinTokenOffered(_)
        | Event::Registered { .. }
        | Event::RegisterFailed { .. }
        | Event::BeatAnswered { .. }
        | Event::BeatFailed { .. }
        | Event::SupervisorAnswered { .. }
        | Event::Elapsed(
            Timer::Register
            | Timer::Heartbeat
            | Timer::Retry
            | Timer::Recheck
            | Timer::Deadline
            | Timer::Health,
        ) => cx.ignored = true,
    }
    Outcome::Handled
}

fn expire_leases(l: &mut Lifecycle, cx: &mut Context) {
    for lease in l.book.leases.expire(cx.now.boot) {
        let data = serde_json::json!({ "name": lease.name, "owner": lease.owner, "reason": lease.reason });
        l.book.note(cx.now, "leaseExpired", data);
    }
    cx.raise(Event::ConsentChanged);
}

fn local(l: &mut Lifecycle, request: RequestId, call: &LocalCall, cx: &mut Context) {
    match call {
        LocalCall::Handshake => cx.reply(request, Query::Handshake),
        LocalCall::Status => cx.reply(request, Query::Status),
        LocalCall::Locks => cx.reply(request, Query::Locks),
        LocalCall::Doctor => cx.reply(request, Query::Doctor),
        LocalCall::Lock {
            name,
            owner,
            request: lock,
        } => {
            let longest = Duration::from_secs(l.book.policy().max_defer_seconds.into());
            let draining = cx.draining;
            let before = l.book.leases.clone();
            match l.book.leases.take(name, owner, lock, draining, longest, cx.now) {
                Ok(lock) => {
                    l.granted = Some((request, before));
                    cx.reply(request, Query::Ready(LocalAnswer::Lock(lock)));
                    cx.raise(Event::ConsentChanged);
                }
                Err(problem) => cx.refuse(request, problem),
            }
        }
        LocalCall::Unlock { name, owner } => match l.book.leases.release(name, owner, cx.now.boot) {
            Ok(()) => {
                cx.reply(request, Query::Ready(LocalAnswer::Unlocked));
                cx.raise(Event::ConsentChanged);
            }
            Err(problem) => cx.refuse(request, problem),
        },
        LocalCall::Join(offer) => join(l, request, offer, cx),
        // Only an enrolled node has an update to speak of.
        LocalCall::Check | LocalCall::Approve | LocalCall::Defer(_) => {
            let problem = Problem::new(409, code::CONFLICT, "this node is not enrolled")
                .detail("enrol it first: `baserunner join TOKEN`");
            cx.refuse(request, problem);
        }
    }
}

fn join(l: &mut Lifecycle, request: RequestId, offer: &JoinOffer, cx: &mut Context) {
    let enrolled = l
        .book
        .node
        .as_ref()
        .filter(|_| !offer.replace && !l.beats.is_disowned());
    if let Some(node) = enrolled {
        let problem = Problem::new(
            409,
            code::CONFLICT,
            format!("this node is enrolled as {}", node.id),
        )
        .detail("give it another identity with `replace`: true (`baserunner join --replace`)");
        return turn_down(l, request, offer, problem, cx);
    }
    if let Err(problem) = l.taken_up(offer) {
        let problem = Problem::new(409, code::CONFLICT, problem).detail("make a new join token");
        return turn_down(l, request, offer, problem, cx);
    }
    l.offer = Some(offer.clone());
    cx.raise(Event::JoinTokenOffered(offer.clone()));
    cx.reply(
        request,
        Query::Ready(LocalAnswer::Joining(report::cloudly_status(l))),
    );
}

/// A join token that is not taken up is not kept either, unless a registration with it is under way.
fn turn_down(l: &Lifecycle, request: RequestId, offer: &JoinOffer, problem: Problem, cx: &mut Context) {
    let under_way = l.book.join.registration.as_ref().map(|pending| &pending.token);
    if let Ok(token) = &offer.token
        && under_way != Some(token)
    {
        cx.emit(Effect::ForgetJoinToken { token: token.clone() });
    }
    cx.refuse(request, problem);
}

impl Lifecycle {
    /// Takes in the fact an event brings, whatever state the agent is in. False: a result nobody waits for.
    pub(super) fn absorb(&mut self, event: &Event, cx: &mut Context) -> bool {
        if let Some(op) = event.op()
            && !self.ports.settle(op, cx)
        {
            return false;
        }
        match event {
            Event::Observed(view) => {
                self.supervisor = Some((**view).clone());
                // It may have been the Supervisor's own lock files that were in the way.
                self.lock_files.try_again();
            }
            Event::HostObserved(host) => {
                if self.host.foreign_locks != host.foreign_locks {
                    self.lock_files.try_again();
                    cx.raise(Event::ConsentChanged);
                }
                self.host = host.clone();
                self.host_seen = true;
            }
            Event::StateWritten { problem } => self.state_problem.clone_from(problem),
            Event::LockFilesSettled { problem, .. } => self.lock_files.settle(problem.as_ref()),
            Event::SupervisorAnswered { op, answer } => {
                self.finish_command(*op, answer, cx);
            }
            Event::Withheld {
                request: Some(request),
                ..
            } => self.take_back(*request, cx),
            Event::Withheld {
                op: Some(op),
                problem,
                ..
            } => {
                let message = format!("not begun, because the state cannot be saved: {problem}");
                let error = SupervisorError {
                    kind: SupervisorErrorKind::Unavailable,
                    message,
                };
                self.finish_command(*op, &Err(error), cx);
            }
            Event::Elapsed(_)
            | Event::StopRequested
            | Event::ServiceExited { .. }
            | Event::Withheld { op: None, .. }
            | Event::JoinTokenOffered(_)
            | Event::Registered { .. }
            | Event::RegisterFailed { .. }
            | Event::BeatAnswered { .. }
            | Event::BeatFailed { .. }
            | Event::LocalRequested { .. }
            | Event::DesiredChanged
            | Event::ConsentChanged
            | Event::Entered
            | Event::StepEnded => {}
        }
        true
    }

    /// The grant of a lease could not be written, so its asker was refused: it holds nothing.
    fn take_back(&mut self, request: RequestId, cx: &mut Context) {
        if let Some((_, before)) = self.granted.take_if(|(granted, _)| *granted == request) {
            self.book.leases = before;
            cx.raise(Event::ConsentChanged);
        }
    }

    /// Writes what the step has to say, from the state it ended in.
    pub(super) fn end_step(&mut self, state: &State, cx: &mut Context) {
        self.check_health(!state.is_draining(), cx.now);
        self.follow_leases(cx);
        match self.book.leases.next_end() {
            Some(end) => self.timers.arm(Timer::Lease, end),
            None => self.timers.disarm(Timer::Lease),
        }
        // A Supervisor at work on its own account (after its start, say) is watched until it is at rest.
        let at_work = self
            .view()
            .is_some_and(|view| view.app_state != AppState::Applied);
        let pace = if state.update().is_some() || self.book.commands.is_busy() || at_work {
            Pace::Brisk
        } else {
            Pace::Calm
        };
        if pace != self.pace {
            self.pace = pace;
            cx.emit(Effect::Watch { pace });
        }
        self.tell(state, cx);
        for (request, query) in std::mem::take(&mut cx.replies) {
            let answer = Box::new(self.answer(query, state, cx));
            cx.emit(Effect::Reply { request, answer });
        }
        if state.is_enrolled() {
            self.beat_if_due(state, cx);
        }
    }

    fn answer(&self, query: Query, state: &State, cx: &Context) -> LocalAnswer {
        match query {
            Query::Handshake => LocalAnswer::Handshake(report::handshake(self)),
            Query::Status => LocalAnswer::Status(Box::new(report::local_status(self, state))),
            Query::Update => LocalAnswer::Update(report::update_answer(self, state)),
            Query::Locks => LocalAnswer::Locks(report::locks(self, state.is_draining(), cx.now)),
            Query::Doctor => LocalAnswer::Doctor(doctor::examine(self, cx.now)),
            Query::Ready(answer) => answer,
        }
    }

    /// Publishes progress and reasons to wait when they differ from what was last published.
    fn tell(&mut self, state: &State, cx: &mut Context) {
        let mut notices = Vec::new();
        if let Some(update) = state.update() {
            if let Some(percent) = *update.progress {
                notices.push(Notice::Progress {
                    target: update.release.commit.clone(),
                    percent,
                });
            }
            if !update.blocked.is_empty() {
                notices.push(Notice::Blocked {
                    blocked_by: update.blocked.clone(),
                });
            }
        }
        if notices == self.last_notices {
            return;
        }
        let was_blocked = self
            .last_notices
            .iter()
            .any(|notice| matches!(notice, Notice::Blocked { .. }));
        let is_blocked = notices
            .iter()
            .any(|notice| matches!(notice, Notice::Blocked { .. }));
        for notice in notices
            .iter()
            .filter(|notice| !self.last_notices.contains(notice))
        {
            cx.publish(notice.clone());
        }
        if was_blocked && !is_blocked {
            cx.publish(Notice::Blocked {
                blocked_by: Vec::new(),
            });
        }
        self.beats
            .hear_progress(state.update().and_then(|update| *update.progress));
        self.last_notices = notices;
    }

    fn beat_if_due(&mut self, state: &State, cx: &mut Context) {
        let terminal = report::update_status(self, state).state.is_terminal();
        if cx.beat.is_none() && !self.stopping {
            match self.beats.urgent_at(terminal, cx.now.boot) {
                Some(at) if at <= cx.now.boot => cx.beat(Beat::Usual),
                Some(at) if !self.ports.cloudly_busy() => {
                    let due = self.timers.get(Timer::Heartbeat).map_or(at, |due| due.min(at));
                    self.timers.arm(Timer::Heartbeat, due);
                }
                _ => {}
            }
        }
        let Some(beat) = cx.beat.filter(|_| !self.ports.cloudly_busy()) else {
            return;
        };
        if self.stopping && beat == Beat::Usual {
            return;
        }
        let op = self.ports.begin_cloudly();
        self.timers.disarm(Timer::Heartbeat);
        let beat = Box::new(self.write_beat(state, beat, cx));
        cx.emit(Effect::Heartbeat { op, beat });
    }

    fn write_beat(&mut self, state: &State, kind: Beat, cx: &Context) -> Heartbeat {
        let status = report::node_status(self, state);
        let hash = status_hash(&status);
        let goodbye = kind == Beat::Goodbye;
        let events: Vec<_> = self.book.outbox.iter().cloned().collect();
        let command_results = self.book.commands.results.clone();
        self.beats.under_way = Some(UnderWay {
            hash: hash.clone(),
            last_event: events.last().map(|event| event.id.clone()),
            results: command_results.iter().map(|result| result.id.clone()).collect(),
            goodbye,
        });
        let status = (!self.beats.knows(&hash)).then_some(status);
        Heartbeat {
            protocol_version: PROTOCOL_VERSION,
            run_id: self.run.run_id.clone(),
            sequence: self.beats.number(cx.now.boot),
            // The clock is worth its bytes only beside a status; skew is judged from those.
            sent_at: status.is_some().then_some(cx.now.wall),
            status_hash: hash,
            observed_revision: self.book.revision(),
            status,
            events,
            command_results,
            goodbye,
        }
    }

    /// Cloudly has what the last heartbeat carried. True: it was the goodbye.
    pub(super) fn tick_off(&mut self) -> bool {
        let Some(sent) = self.beats.under_way.clone() else {
            return false;
        };
        if let Some(last) = &sent.last_event
            && let Some(at) = self.book.outbox.iter().position(|event| event.id == *last)
        {
            self.book.outbox.drain(..=at);
        }
        if !sent.results.is_empty() {
            self.book
                .commands
                .results
                .retain(|result| !sent.results.contains(&result.id));
        }
        sent.goodbye
    }
}
