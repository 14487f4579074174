//! What is in the Supervisor's way at present, as reasons why an update is not going on.

use crate::lifecycle::locks::leases::Lease;
use crate::lifecycle::progress::fact::PullFailure;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::update::gate::{foreign_lock, leases};
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::record::{Blocker, Update};
use baseos_interfaces::local::ServiceLock;
use baseos_interfaces::status::BlockerKind;

/// All that holds the update back which the Supervisor has been handed. A reason that held before keeps its beginning.
pub(crate) fn hindrances(
    l: &Shared,
    update: &Update,
    judgement: Option<&Judgement>,
    now: Stamp,
) -> Vec<Blocker> {
    let mut found: Vec<_> = supervisor(l, judgement, now).into_iter().collect();
    found.extend(pulls(l));
    found.extend(locks(l, now));
    found.extend(starts(l));
    found.extend(backoff(l, now));
    if found.is_empty() {
        found.extend(locks_it_may_meet(l, now));
    }
    if found.is_empty() {
        found.extend(guess(l, update));
    }
    found
        .into_iter()
        .map(|blocker| blocker.continuing(update.blocked()))
        .collect()
}

/// The Supervisor does not say what has to be known of it.
pub(crate) fn supervisor(l: &Shared, judgement: Option<&Judgement>, now: Stamp) -> Option<Blocker> {
    match (&l.supervisor, judgement) {
        (Some(Err(error)), _) => Some(Blocker::supervisor_unavailable(error, now)),
        (Some(Ok(view)), Some(Judgement::Unknown(seen))) => {
            let mut reason = seen.join(", ");
            if let Some(problem) = &view.images_problem {
                reason = format!("{reason}: {problem}");
            }
            Some(Blocker::new(BlockerKind::SupervisorUnavailable, now.wall).because(reason))
        }
        _ => None,
    }
}

/// Whether something other than the release is in the way.
pub(crate) fn is_not_the_releases_fault(blocked: &[Blocker]) -> bool {
    blocked
        .iter()
        .any(|blocker| blocker.kind != BlockerKind::StartFailing)
}

fn pulls(l: &Shared) -> impl Iterator<Item = Blocker> {
    l.progress.failed_pulls().map(|(image, failed)| {
        let (kind, reason) = match failed.failure {
            PullFailure::DiskFull => (BlockerKind::DiskFull, failed.failure.to_string()),
            PullFailure::NotFound => (BlockerKind::PullFailing, failed.failure.to_string()),
            PullFailure::Denied | PullFailure::RegistryAway | PullFailure::Other => (
                BlockerKind::PullFailing,
                format!("{}: {}", failed.failure, failed.message),
            ),
        };
        Blocker::new(kind, failed.since)
            .held_by(Some(image.clone()))
            .because(reason)
    })
}

/// All locks that are known, when a step fails and nothing else says which: the log may not have been read. What an
/// operator forces meets no lock.
fn locks_it_may_meet(l: &Shared, now: Stamp) -> Vec<Blocker> {
    if l.durable.policy().is_forced() || !l.view().is_some_and(|view| view.update_failed) {
        return Vec::new();
    }
    let own_file = l.host.foreign_locks.first().map(|path| foreign_lock(path, now));
    own_file.into_iter().chain(leases(l, now)).collect()
}

/// The lock that the Supervisor's log names.
fn locks(l: &Shared, now: Stamp) -> Vec<Blocker> {
    let own_file = l.host.foreign_locks.first().map(|path| foreign_lock(path, now));
    let Some(lock) = l.progress.lock() else {
        return Vec::new();
    };
    let blocker = Blocker::new(BlockerKind::LocalLock, lock.since);
    if let Some(lock) = service_lock(l, now) {
        return vec![blocker.held_by(lock.service).because("its lock file exists")];
    }
    let lease = own_lease(l, now).map(|lease| {
        blocker
            .held_by(Some(lease.owner.clone()))
            .because(lease.reason.clone())
    });
    lease.or(own_file).into_iter().collect()
}

/// The lock that the Supervisor's log names, when only the Supervisor knows of it: that of the agent's own service is the
/// lease's, or a file's that lies in the agent's lock directory.
pub(crate) fn service_lock(l: &Shared, now: Stamp) -> Option<ServiceLock> {
    let lock = l.progress.lock()?;
    let own = lock.service.as_ref() == Some(&l.run.own_service);
    let is_known = own && (own_lease(l, now).is_some() || !l.host.foreign_locks.is_empty());
    (!is_known).then(|| ServiceLock {
        service: lock.service.clone(),
        since: lock.since,
    })
}

fn own_lease(l: &Shared, now: Stamp) -> Option<&Lease> {
    l.durable.leases.iter().find(|lease| lease.until > now.boot)
}

fn starts(l: &Shared) -> impl Iterator<Item = Blocker> {
    l.progress.failed_starts().map(|(service, start)| {
        Blocker::new(BlockerKind::StartFailing, start.since)
            .held_by(Some(service.clone()))
            .because("its container cannot be started")
    })
}

fn backoff(l: &Shared, now: Stamp) -> Option<Blocker> {
    let backoff = l.progress.backoff.filter(|backoff| backoff.until > now.boot)?;
    let blocker = Blocker::new(BlockerKind::SupervisorBackoff, backoff.since)
        .because("the Supervisor waits after failures of an earlier target")
        .until(now.wall_at(backoff.until));
    Some(blocker)
}

/// The Supervisor says that a step fails, and its log was not read when it said which. While an image is being
/// downloaded, the flag is about an earlier attempt.
fn guess(l: &Shared, update: &Update) -> Option<Blocker> {
    let view = l.view()?;
    let failing = l.progress.failing_unexplained()?;
    if view.download_percent.is_some() {
        return None;
    }
    // Observed: a container whose start fails stays `Installed`.
    let not_started = view.containers.iter().find(|container| {
        container.status.eq_ignore_ascii_case("installed")
            && update.release.services.contains_key(&container.service)
    });
    let (kind, holder, what) = match (not_started, view.update_downloaded) {
        (Some(container), _) => (
            BlockerKind::StartFailing,
            Some(container.service.clone()),
            "its container was made and does not run",
        ),
        (None, true) => (
            BlockerKind::LocalLock,
            None,
            "the images are there and a step fails, so a service may hold its lock",
        ),
        (None, false) => (
            BlockerKind::PullFailing,
            None,
            "a step fails before an image has come, so a pull may fail, or a service may hold its lock",
        ),
    };
    let blocker = Blocker::new(kind, failing.since)
        .held_by(holder)
        .because(format!("a guess from the Supervisor's state: {what}"));
    Some(blocker)
}
