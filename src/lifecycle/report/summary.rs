//! One sentence for people: what the agent is doing, and what it waits for.

use crate::lifecycle::facts::AppState;
use crate::lifecycle::guard::trial;
use crate::lifecycle::report::status::{is_not_replaced, stopped_by_operator};
use crate::lifecycle::shared::Shared;
use crate::lifecycle::states::State;
use crate::lifecycle::states::idle::Idle;
use crate::lifecycle::update::record::{Blocker, Finished, Update};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::register::Approval;
use baseos_interfaces::running::short;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::terminal::time;

pub(crate) fn summary(l: &Shared, state: &State) -> String {
    let goal = |update: &Update| match &update.release.version {
        Some(version) => format!("release {version} ({})", short(update.commit())),
        None => format!("release {}", short(update.commit())),
    };
    let mut sentence = match state {
        State::Unenrolled(unenrolled) => unenrolled.summary(),
        State::Registering(registering) => registering.summary(),
        State::Idle(idle) => idle_sentence(l, idle),
        State::Staging(staging) => match staging.update.blocked().first() {
            Some(blocker) => format!(
                "Checking {}; held up: {}.",
                goal(&staging.update),
                blocker.in_words()
            ),
            None => format!("Checking {} before anything is touched.", goal(&staging.update)),
        },
        State::Waiting(waiting) => {
            let why: Vec<_> = waiting.update.blocked().iter().map(Blocker::in_words).collect();
            format!("Waiting to apply {}: {}.", goal(&waiting.update), why.join("; "))
        }
        State::Applying(applying) => {
            let update = &applying.update;
            match (held_up(update), *update.progress) {
                (Some(why), _) => format!("Applying {}; held up: {why}.", goal(update)),
                (None, Some(percent)) => format!("Applying {}: {percent} % downloaded.", goal(update)),
                (None, None) => format!("Applying {}.", goal(update)),
            }
        }
        State::Verifying(verifying) => {
            let seconds = l.durable.policy().health().as_secs();
            let goal = goal(&verifying.update);
            if trial::budget(l, verifying.update.commit()).is_some() {
                format!(
                    "Verifying {goal}: its agent has to prove itself by a heartbeat that Cloudly accepts."
                )
            } else {
                format!("Verifying {goal}: it must stay healthy for {seconds} s.")
            }
        }
        State::Failed(failed) => {
            let why = failed
                .last
                .error
                .as_ref()
                .map_or("unknown", |error| error.message.as_str());
            let release = short(&failed.last.commit);
            if failed.waits_for_image() {
                format!(
                    "Failed: release {release} cannot be fetched: {why}. It goes on when the image is there."
                )
            } else if l.running() == Some(failed.last.commit.as_str())
                && is_not_replaced(state, &failed.last.commit)
            {
                format!(
                    "Failed: release {release} does not run, although the Supervisor calls it applied: {why}."
                )
            } else if let Some(since) = found_bad_earlier(&failed.last) {
                let since = time(since);
                format!(
                    "Failed: release {release} is not tried: it is known to be bad since {since} ({why}); {FORCE} tries it \
                     again."
                )
            } else {
                format!("Failed: gave up release {release}: {why}; {FORCE} tries it again.")
            }
        }
        State::RollbackNeeded(bad) => match held_up(&bad.update) {
            Some(why) => format!("{} Held up: {why}.", bad.summary()),
            None => bad.summary(),
        },
    };
    if let Some(failure) = l.heartbeats.last_failure() {
        // "Cloudly answered 410" says already who.
        let who = if failure.message.starts_with("Cloudly ") {
            ""
        } else {
            "Cloudly: "
        };
        // It is not said to wait for an operator's approval when an operator removed it.
        let waits = l
            .durable
            .node
            .as_ref()
            .is_some_and(|node| node.approval != Approval::Approved);
        if waits && l.heartbeats.is_disowned() {
            sentence.clear();
        } else {
            sentence.push(' ');
        }
        sentence.push_str(&format!("{who}{}.", failure.message));
    }
    sentence
}

/// What tries a release again that is known to be bad.
const FORCE: &str = "a forced order (`cloudly desired set --force`)";

/// Since when a release is known to be bad that was not tried at all this time.
fn found_bad_earlier(last: &Finished) -> Option<Timestamp> {
    let error = last.error.as_ref()?;
    let earlier = last.attempt == 0 && error.at != last.at;
    // Without fractions of a second.
    earlier.then(|| Timestamp::from_second(error.at.as_second()).unwrap_or(error.at))
}

/// All that is in the way of an update in the Supervisor's hands.
fn held_up(update: &Update) -> Option<String> {
    let why: Vec<_> = update.blocked().iter().map(Blocker::in_words).collect();
    (!why.is_empty()).then(|| why.join("; "))
}

fn idle_sentence(l: &Shared, idle: &Idle) -> String {
    if let Some(node) = l
        .durable
        .node
        .as_ref()
        .filter(|node| node.approval != Approval::Approved)
    {
        let why = node
            .approval_reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        return format!("Enrolled; waiting for an operator to approve this node{why}.");
    }
    if let Some(last) = idle
        .last
        .as_ref()
        .filter(|last| last.state == UpdateState::RolledBack)
    {
        let why = last
            .error
            .as_ref()
            .map_or("it was bad", |error| error.message.as_str());
        let desired = l.durable.desired_app().map(|app| &app.release.commit);
        let again = if desired == Some(&last.commit) && l.durable.memory.known_bad(&last.commit).is_some() {
            format!(" It is known to be bad and not tried again; {FORCE} does.")
        } else {
            String::new()
        };
        return format!(
            "Idle: went back from release {}: {why}.{again}",
            short(&last.commit)
        );
    }
    match &l.supervisor {
        Some(Err(error)) => format!("Idle; the Supervisor is not available: {}.", error.message),
        None => "Idle: the Supervisor has not been looked at yet.".to_owned(),
        Some(Ok(_)) if l.issues.has(&IssueCode::TargetLost) => match l.durable.healing.refused() {
            Some(why) => {
                format!(
                    "Idle: the Supervisor has lost its target, and cannot be handed the release again: {why}."
                )
            }
            None => "Idle: the Supervisor has lost its target; it is handed the release again.".to_owned(),
        },
        Some(Ok(view)) => match &view.release {
            Some(running) if !services(l).is_empty() => {
                format!(
                    "Idle: release {} runs, but {}.",
                    short(running),
                    services(l).join("; ")
                )
            }
            Some(running) => {
                let stopped: Vec<_> = stopped_by_operator(l).collect();
                let rest = if stopped.is_empty() {
                    "nothing to do".to_owned()
                } else {
                    format!("{} stopped by an operator", stopped.join(", "))
                };
                format!("Idle: release {} runs, {rest}.", short(running))
            }
            None if view.app_state != AppState::Applied => {
                "Idle: the Supervisor is at work; which release runs is not known yet.".to_owned()
            }
            None if !view.containers.is_empty() => {
                "Idle: which release runs is not known at the moment.".to_owned()
            }
            None => "Idle: no release runs.".to_owned(),
        },
    }
}

/// What is wrong with the services of the release that runs.
fn services(l: &Shared) -> Vec<&str> {
    [IssueCode::ServiceStopped, IssueCode::ServiceCrashLoop]
        .iter()
        .filter_map(|code| l.issues.detail(code))
        .collect()
}
