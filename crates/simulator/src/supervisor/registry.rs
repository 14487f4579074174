//! Images: how they are fetched and what their containers do.

use crate::supervisor::image_store::image_id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The known images. A reference that is not described has 30 MB and runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Registry {
    /// By reference.
    pub images: BTreeMap<String, Image>,
    /// No registry answers (`connection refused`, u05-regdown).
    pub down: bool,
    /// Pulls do not end, as over a link that has become silent.
    pub stalled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    pub pull: Pull,
    pub run: Behaviour,
    /// What is in it; images with the same content are one image to the engine. Missing: the digest of its reference, or
    /// else the reference itself.
    pub content: Option<String>,
}

/// How an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Pull {
    /// At [`super::Timing::pull_bytes_per_second`].
    Bytes(u64),
    /// Takes this long.
    Millis(u64),
    /// `(HTTP code 404) … manifest unknown`, every time (u05-poll-badimage).
    Missing,
    /// Fails at this percentage, every time: a full disk, a broken layer.
    BreaksAt {
        /// How long the whole pull would take.
        millis: u64,
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
    /// Runs until it is stopped.
    #[default]
    Runs,
    /// Ends by itself after each start; the service's restart policy decides what follows.
    ///
    /// Under `restart: always` (balena's default) the Supervisor reports `Running` all the time: the engine counts a
    /// container in its restart back-off as running (moby's `SetRestarting`), and the Supervisor looks only at that.
    /// Under `no` it reports `exited`.
    Exits { after_millis: u64, code: i32 },
    /// Ends, is started again, and is reported as `exited` in between. The real engine does not do that (see
    /// [`Behaviour::Exits`]); for tests that an agent copes with either.
    Flaps { after_millis: u64 },
    /// The engine cannot start it (no such executable): the apply fails and is retried with back-off.
    DoesNotStart,
    /// The agent: the device starts its real process.
    Process,
    /// Ends by itself and cannot be started again: it stays `exited` under every restart policy, because the engine does
    /// not repeat a restart that fails (moby).
    Breaks { after_millis: u64 },
}

impl Registry {
    #[must_use]
    pub fn with(mut self, reference: &str, image: Image) -> Self {
        self.images.insert(reference.to_owned(), image);
        self
    }

    pub fn image(&self, reference: &str) -> Image {
        self.images.get(reference).cloned().unwrap_or_default()
    }

    /// The engine's id of the image that this reference leads to in the registry.
    pub fn image_id(&self, reference: &str) -> String {
        let content = self
            .images
            .get(reference)
            .and_then(|image| image.content.as_deref());
        image_id(
            content.unwrap_or_else(|| reference.rsplit_once('@').map_or(reference, |(_, digest)| digest)),
        )
    }
}

impl Image {
    pub fn new(run: Behaviour, pull_millis: u64) -> Self {
        Self {
            pull: Pull::Millis(pull_millis),
            run,
            content: None,
        }
    }

    pub fn agent(pull_millis: u64) -> Self {
        Self::new(Behaviour::Process, pull_millis)
    }

    /// An image that no registry has.
    pub fn missing() -> Self {
        Self {
            pull: Pull::Missing,
            ..Self::default()
        }
    }

    /// The same image as any other with this content.
    #[must_use]
    pub fn with_content(self, content: &str) -> Self {
        Self {
            content: Some(content.to_owned()),
            ..self
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
