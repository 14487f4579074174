//! The rules of what may reach a Supervisor, held by both ends: Cloudly when a release is created, where somebody can
//! still read the answer, and the agent before it touches anything. What one accepts the other accepts.
//!
//! [`check_release`] holds every rule that needs no device to check. What only a device knows (its volumes, its other
//! apps, the service it runs as) the agent checks besides; [`VolumeDefinition`] tells whether a volume would change.
//!
//! [`check_images`] holds that no image is taken for another one: of a release against Cloudly's other releases, and
//! against what a device has had.
//!
//! Where the two ends differed before there was one rule, it is what both accepted, so that Cloudly sends nothing that
//! an older agent refuses. What the Supervisor answers 400 to, or would read otherwise than it is written, is refused
//! too.
//!
//! Sources: the Supervisor's answers in `crates/simulator/recordings` (19.0.5, "observed") and its published source
//! ("source": what it does to a composition on its way to a container).

mod agent;
mod agent_user;
mod commit;
mod compose_keys;
mod composition;
mod guard;
mod image;
mod image_reference;
mod json;
mod mounts;
mod names;
mod parts;
mod platform;
mod release;
mod size;
mod state_mount;
mod version;
mod violation;
mod volumes;

pub use agent::{AGENT_SERVICE_VARIABLE, SUPERVISOR_API_LABEL, agent_name_problem};
pub use agent_user::{ROOT_CAPABILITIES, SUPERVISOR_UID, agent_user};
pub use commit::{COMMIT_MAX_LEN, COMMIT_MIN_LEN, check_commit};
pub use compose_keys::camel_case;
pub use composition::RESERVED_KEYS;
pub use guard::{GUARD_PROGRAM, GUARD_SERVICE};
pub use image::{IMAGE_MAX_LEN, ImageUse, check_images};
pub use image_reference::{ImageReference, ImageVersion, is_digest};
pub use json::{DEPTH_MAX, is_shallow};
pub use names::NAME_MAX_LEN;
pub use parts::{ReleaseParts, ServiceParts};
pub use platform::is_platform;
pub use release::check_release;
pub use size::{ENTRIES_MAX, RELEASE_MAX_BYTES, check_size};
pub use state_mount::{AGENT_STATE_DIR, AGENT_STATE_DIR_VARIABLE, StatePlace, state_place, state_place_in};
pub use version::VERSION_MAX_LEN;
pub use violation::{LISTED_MAX, Violation, Violations};
pub use volumes::VolumeDefinition;
