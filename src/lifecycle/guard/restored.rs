//! The guard has put the proven release back: a new process takes note of that before it does anything else, once.

use crate::lifecycle::durable::Durable;
use crate::lifecycle::facts::Run;
use crate::lifecycle::guard::record::GuardRestored;
use crate::lifecycle::time::Stamp;
use crate::lifecycle::update::record::UpdateError;
use baseos_interfaces::codes::ErrorCode;

/// Remembers the release as bad. `None`: the guard has done nothing that is not known.
pub(crate) fn take_note(durable: &mut Durable, run: &Run, now: Stamp) -> Option<GuardRestored> {
    let restored = run.guard.as_ref()?.report.as_ref()?.restored.as_ref()?;
    if !durable.guard.note_restored(restored.number) {
        return None;
    }
    durable.target.posted_by_guard(&restored.to);
    let message = "the new agent did not prove itself, and the guard put the previous release back";
    let error = UpdateError::new(ErrorCode::AgentNotProven, message, restored.evidence.clone(), now);
    let revision = durable.revision();
    durable.memory.declare_bad(&restored.commit, &error, revision);
    Some(GuardRestored {
        commit: restored.commit.clone(),
        error,
    })
}
