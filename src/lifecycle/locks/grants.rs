//! Leases that count only once balena's lock files are held for them.
//!
//! While the Supervisor fetches images a lease still can hold back what follows: it looks at the lock files before it
//! changes containers, and makes its own when it begins. So the files decide: when they can be made, the lease is
//! granted; when the Supervisor has them, it is not.

use crate::lifecycle::context::{Context, Query};
use crate::lifecycle::effect::LocalAnswer;
use crate::lifecycle::locks::lease_grant::Provisional;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::Signal;
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::local::Lock;
use baseos_interfaces::problem::Problem;

/// The lock files have been made, or not: answers who waits for them.
pub(crate) fn resolve(l: &mut Shared, cx: &mut Context) {
    let owners = l.durable.leases.owners();
    // Until the files are asked for once more, for the newest holders too.
    if l.provisional.is_empty() || !l.lock_files.is_settled_for(&owners) {
        return;
    }
    let problem = l.lock_files.problem().map(str::to_owned);
    let settled = std::mem::take(&mut l.provisional);
    let Some(problem) = problem else {
        for Provisional { request, lock } in &settled {
            cx.reply(*request, Query::Ready(LocalAnswer::Lock(lock.clone())));
        }
        l.granted_late = settled;
        return;
    };
    for Provisional { request, lock } in settled {
        take_back(l, &lock);
        let title = "an update is under way and cannot be held back any more";
        let refusal = Problem::new(423, ProblemCode::Locked, title).detail(problem.clone());
        cx.refuse(request, refusal.retry_after(Some(60)));
    }
    cx.raise(Signal::GateChanged);
}

/// A grant that was made late does not reach the disk, or never counted: it holds nothing.
pub(crate) fn take_back(l: &mut Shared, lock: &Lock) {
    l.durable.leases.forget(&lock.name, lock.fencing);
}
