//! The guard of the agent's own update, on the agent's side (architecture §4).
//!
//! The guard is a second service of the local target that runs `baserunner guard` from an image that has proved itself.
//! It puts the proven release back when a new agent does not prove itself. The agent adds it to the target (`arm`, `arming`),
//! says which release is on trial and when the trial is over (`trial`), and takes note of what the guard did
//! (`restored`). `standing` is how it is found. `files` are the two files through which they speak; neither writes the other's.

mod arm;
pub(crate) mod arming;
pub mod files;
pub(crate) mod orders;
pub(crate) mod record;
pub(crate) mod restored;
pub(crate) mod standing;
pub(crate) mod trial;

use crate::lifecycle::context::Context;
use crate::lifecycle::shared::Shared;
use standing::{Standing, standing};

/// What every step ends with. `idle`: no update is under way.
pub(crate) fn follow(l: &mut Shared, idle: bool, cx: &mut Context) {
    trial::follow(l);
    arm::follow(l, idle, cx);
    let missing = standing(l).is_some_and(|standing| match standing {
        Standing::Armed | Standing::Managed | Standing::NothingProven => false,
        Standing::NotAdded(_) | Standing::DoesNotRun | Standing::Silent | Standing::HoldsAnother => true,
    });
    l.arming.note(missing, cx.now.boot);
}
