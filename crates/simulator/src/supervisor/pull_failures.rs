//! Failed pulls: the engine's wording, and the pause that the Supervisor keeps for each image.
//!
//! The pause is kept in memory by image name and outlives posts: an attempt that comes too early fails without a pull
//! and without a line in the log (with-agent/S4b, first-boot-and-guard/E2: silent while in the back-off).

use crate::supervisor::timing::Timing;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lost when the Supervisor's process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct PullFailures(BTreeMap<String, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Duration,
}

impl PullFailures {
    pub(crate) fn failed(&mut self, image: &str, now: Duration) {
        let failures = self
            .0
            .entry(image.to_owned())
            .or_insert(Failures { count: 0, last: now });
        failures.count += 1;
        failures.last = now;
    }

    pub(crate) fn succeeded(&mut self, image: &str) {
        self.0.remove(image);
    }

    /// Whether it is too early for another pull of the image.
    pub(crate) fn is_pausing(&self, image: &str, now: Duration, timing: &Timing) -> bool {
        self.0
            .get(image)
            .is_some_and(|failures| now < failures.last + timing.backoff(failures.count))
    }
}

/// E3-a: no registry has the image.
pub(crate) fn manifest_unknown(image: &str) -> String {
    format!(
        "(HTTP code 404) unexpected - manifest for {image} not found: manifest unknown: manifest unknown "
    )
}

/// E3-c: the registry does not answer.
pub(crate) fn connection_refused(image: &str) -> String {
    let registry = image
        .split_once('/')
        .map_or("registry-1.docker.io", |(host, _)| host);
    format!(
        "(HTTP code 500) server error - Get \"http://{registry}/v2/\": dial tcp {registry}: connect: connection refused "
    )
}

/// E3-d: the disk is full.
pub(crate) fn no_space() -> String {
    "write /mnt/data/docker/data/tmp/GetImageBlob4181240305: no space left on device".to_owned()
}
