//! What is behind an image reference: how it is fetched and what happens when it is started.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The images this world knows. A reference nobody described pulls 30 MB and runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Registry {
    /// By the reference a release names.
    pub images: BTreeMap<String, Image>,
    /// Whether no registry answers (`connection refused`, u05-regdown).
    pub down: bool,
}

/// One image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// How it is fetched.
    pub pull: Pull,
    /// What it does when started.
    pub run: Behaviour,
}

/// How an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Pull {
    /// So many bytes, at [`super::Timing::pull_bytes_per_second`].
    Bytes(u64),
    /// It takes so long.
    Millis(u64),
    /// `(HTTP code 404) … manifest unknown`, every time (u05-poll-badimage).
    Missing,
    /// It starts, then fails for ever after this part of the way, percent: a full disk, a broken layer.
    BreaksAt {
        /// How long the whole pull would take.
        millis: u64,
        /// Where it breaks off.
        percent: u64,
    },
}

impl Default for Pull {
    fn default() -> Self {
        // The recorded images had 30 MB.
        Self::Bytes(30_000_000)
    }
}

/// What a container of this image does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Behaviour {
    /// It runs until it is stopped.
    #[default]
    Runs,
    /// It ends by itself; the service's restart policy decides what follows.
    ///
    /// Under `restart: always` (balena's default) the Supervisor goes on saying `Running`: the engine counts a
    /// container in its restart back-off as running (moby's `SetRestarting`), and the Supervisor looks only at
    /// that. Under `no` it says `exited`.
    Exits {
        /// After so long, each time it is started.
        after_millis: u64,
        /// With this code.
        code: i32,
    },
    /// Ends and is started again, and is *seen* as `exited` in between. Not what the engine does (see
    /// [`Behaviour::Exits`]); for tests of an agent that has to cope with either.
    Flaps {
        /// Runs for so long each time.
        after_millis: u64,
    },
    /// The engine cannot start it (no such executable): the apply fails and is retried with back-off.
    DoesNotStart,
    /// It is the agent: the device starts its real process.
    Process,
}

impl Registry {
    /// Describes an image.
    #[must_use]
    pub fn with(mut self, reference: &str, image: Image) -> Self {
        self.images.insert(reference.to_owned(), image);
        self
    }

    /// What is behind a reference.
    pub fn image(&self, reference: &str) -> Image {
        self.images.get(reference).cloned().unwrap_or_default()
    }
}

impl Image {
    /// An image that behaves so and takes so long to fetch.
    pub fn new(run: Behaviour, pull_millis: u64) -> Self {
        Self {
            pull: Pull::Millis(pull_millis),
            run,
        }
    }

    /// The agent's image.
    pub fn agent(pull_millis: u64) -> Self {
        Self::new(Behaviour::Process, pull_millis)
    }

    /// An image no registry has.
    pub fn missing() -> Self {
        Self {
            pull: Pull::Missing,
            run: Behaviour::Runs,
        }
    }

    pub(crate) fn pull_time(&self, bytes_per_second: u64) -> Duration {
        match self.pull {
            Pull::Bytes(bytes) => Duration::from_millis(bytes.saturating_mul(1000) / bytes_per_second.max(1)),
            Pull::Millis(millis) | Pull::BreaksAt { millis, .. } => Duration::from_millis(millis),
            Pull::Missing => Duration::ZERO,
        }
    }
}
