//! Leased update locks (contract §6): who holds back an update, why, and until when at the latest.

use crate::lifecycle::time::{Millis, Stamp};
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::{FieldCode, ProblemCode};
use baseos_interfaces::limits::LEASE_MAX_SECONDS;
use baseos_interfaces::local::{Lock, LockRequest, LockScope};
use baseos_interfaces::problem::{FieldError, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Leases that may be held at once.
const MOST: usize = 32;
/// The longest reason for a lease, characters.
const REASON_MAX_LEN: usize = 200;

/// All leases. In the checkpoint: granted only when on disk, kept over a restart, dropped by a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Leases {
    held: BTreeMap<String, Lease>,
    last_fencing: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) reason: String,
    /// What it holds back.
    pub(crate) scope: LockScope,
    /// Rises with every acquisition.
    pub(crate) fencing: u64,
    /// Boot-time clock.
    pub(crate) since: Millis,
    /// Device's clock.
    pub(crate) since_wall: Timestamp,
    /// Boot-time clock: gone then unless renewed.
    pub(crate) until: Millis,
}

impl Lease {
    fn remaining(&self, now: Millis) -> Duration {
        self.until.since(now)
    }

    /// As the local API shows it.
    pub(crate) fn shown(&self, now: Millis) -> Lock {
        Lock {
            name: self.name.clone(),
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            scope: self.scope,
            fencing: self.fencing,
            since: self.since_wall,
            remaining_seconds: self.remaining(now).as_secs(),
        }
    }
}

impl Leases {
    /// Grants or renews a lease.
    ///
    /// `draining`: an update is waiting for the locks to end, so only renewals are given. `longest` bounds a
    /// lease in all, renewals included.
    ///
    /// # Errors
    /// The problem to answer with: 422 for a bad request, 423 when it is not to be had.
    pub(crate) fn acquire(
        &mut self,
        name: &str,
        owner: &str,
        request: &LockRequest,
        draining: bool,
        longest: Duration,
        now: Stamp,
    ) -> Result<Lock, Problem> {
        check(request)?;
        let ttl = Duration::from_secs(request.ttl_seconds.into());
        let (fencing, since, since_wall) = match self.held.get(name) {
            Some(held) if held.owner != owner => {
                return Err(locked(
                    format!("{} holds the lock `{name}`: {}", held.owner, held.reason),
                    held.remaining(now.boot),
                ));
            }
            Some(held) => (held.fencing, held.since, held.since_wall),
            None if draining => {
                let wait = self.held.values().map(|lease| lease.remaining(now.boot)).max();
                return Err(locked(
                    "an update is about to begin, so no new locks are given".to_owned(),
                    wait.unwrap_or(Duration::from_secs(60)),
                ));
            }
            None if self.held.len() >= MOST => {
                return Err(locked(
                    format!("{MOST} locks are held already"),
                    Duration::from_secs(60),
                ));
            }
            None => {
                self.last_fencing += 1;
                (self.last_fencing, now.boot, now.wall)
            }
        };
        let last = since + longest;
        if last <= now.boot {
            return Err(locked(
                format!(
                    "the lock `{name}` has been held for {} s, the longest the policy allows",
                    longest.as_secs()
                ),
                Duration::from_secs(60),
            ));
        }
        let lease = Lease {
            name: name.to_owned(),
            owner: owner.to_owned(),
            reason: request.reason.clone(),
            scope: request.scope,
            fencing,
            since,
            since_wall,
            until: (now.boot + ttl).min(last),
        };
        let shown = lease.shown(now.boot);
        self.held.insert(name.to_owned(), lease);
        Ok(shown)
    }

    /// Releases a lease. A lease that is not held is no error; one that another owner holds stays.
    ///
    /// # Errors
    /// 423 when somebody else holds it.
    pub(crate) fn release(&mut self, name: &str, owner: &str, now: Millis) -> Result<(), Problem> {
        match self.held.get(name) {
            Some(held) if held.owner != owner => Err(locked(
                format!("{} holds the lock `{name}`, not {owner}", held.owner),
                held.remaining(now),
            )),
            Some(_) => {
                self.held.remove(name);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Drops a lease that was never granted to its asker.
    pub(crate) fn forget(&mut self, name: &str, fencing: u64) {
        self.held
            .retain(|held, lease| held != name || lease.fencing != fencing);
    }

    /// Drops those whose time is over; returns them.
    pub(crate) fn expire(&mut self, now: Millis) -> Vec<Lease> {
        let (over, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(_, lease)| lease.until <= now);
        self.held = held;
        BTreeMap::into_values(over).collect()
    }

    pub(crate) fn drop_all(&mut self) {
        self.held.clear();
    }

    /// The earliest end of a lease.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.held.values().map(|lease| lease.until).min()
    }

    /// The lease that lives longest.
    pub(crate) fn longest(&self, now: Millis) -> Option<&Lease> {
        self.held
            .values()
            .filter(|lease| lease.until > now)
            .max_by_key(|lease| lease.until)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.held.values()
    }

    /// Everybody who holds a lease, sorted.
    pub(crate) fn owners(&self) -> Vec<String> {
        let mut owners: Vec<_> = self.held.values().map(|lease| lease.owner.clone()).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

fn check(request: &LockRequest) -> Result<(), Problem> {
    let reason = match request.reason.chars().count() {
        0 => Some(FieldCode::Empty),
        length if length > REASON_MAX_LEN => Some(FieldCode::TooLong),
        _ => None,
    };
    let ttl = (1..=LEASE_MAX_SECONDS).contains(&request.ttl_seconds);
    let ttl = (!ttl).then_some(FieldCode::OutOfRange);
    let errors: Vec<_> = [("/reason", reason), ("/ttlSeconds", ttl)]
        .into_iter()
        .filter_map(|(pointer, code)| Some(FieldError::new(pointer, code?)))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "reason has 1 to {REASON_MAX_LEN} characters, ttlSeconds is 1 to {LEASE_MAX_SECONDS} seconds"
    );
    let problem = Problem::new(422, ProblemCode::InvalidRequest, "the lock request is not valid");
    Err(Problem {
        errors,
        ..problem.detail(detail)
    })
}

fn locked(title: String, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .clamp(1, LEASE_MAX_SECONDS);
    Problem::new(423, ProblemCode::Locked, title).retry_after(Some(seconds))
}

#[cfg(test)]
mod tests;
