//! What the Supervisor's own log says, as far as it tells why an update goes on or does not.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One fact of the log. Lines come only from the moment of attaching, so facts are missing wherever the stream was down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LogFact {
    /// The log is read from now on.
    Opened,
    /// It is no longer read: lines may be missed until it is opened again.
    Lost,
    /// `Downloading image`.
    PullBegan { image: String },
    /// `Downloaded image`.
    PullDone { image: String },
    /// `Failed to download image`.
    PullFailed {
        image: String,
        failure: PullFailure,
        /// The engine's words, short and without secrets.
        message: String,
    },
    /// `Updates are locked, retrying in …`: the services were not touched.
    Locked {
        /// Whose lock it is, where the line says so.
        service: Option<String>,
        /// Until the next attempt, milliseconds.
        retry_millis: u64,
    },
    /// `Killing service`: the Supervisor has got past the locks.
    Stopping { service: String },
    /// `Starting service`; without [`LogFact::Started`] before the next one, the start failed.
    Starting { service: String },
    /// `Started service`.
    Started { service: String },
}

/// Why a pull failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PullFailure {
    /// The registry answers, and has no such image, or none for this platform.
    NotFound,
    /// The registry answers, and does not give it to this device.
    Denied,
    /// The registry does not answer.
    RegistryAway,
    /// The engine has no room for it.
    DiskFull,
    /// Something else; the message says what.
    Other,
}

impl PullFailure {
    /// Sorts the engine's words (observed: E3-a to E3-d).
    pub fn of(message: &str) -> Self {
        let text = message.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        if says(&["no space left on device", "disk quota exceeded"]) {
            Self::DiskFull
        } else if says(&[
            "denied",
            "unauthorized",
            "authentication required",
            "http code 401",
            "http code 403",
        ]) {
            Self::Denied
        } else if says(&["manifest unknown", "no matching manifest", "name unknown"])
            || (says(&["http code 404"]) && says(&["not found"]))
        {
            Self::NotFound
        } else if says(&[
            "connection refused",
            "connection reset",
            "no such host",
            "timeout",
            "timed out",
            "deadline exceeded",
            "unreachable",
            "no route to host",
            "server misbehaving",
            "eof",
        ]) {
            Self::RegistryAway
        } else {
            Self::Other
        }
    }
}

impl fmt::Display for PullFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the registry has no such image",
            Self::Denied => "the registry refuses it to this device",
            Self::RegistryAway => "the registry does not answer",
            Self::DiskFull => "the disk is full",
            Self::Other => "the pull fails",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_sorted() {
        for (message, failure) in [
            (
                "(HTTP code 404) unexpected - manifest for 127.0.0.1:5001/gb:nosuch not found: manifest unknown: manifest unknown ",
                PullFailure::NotFound,
            ),
            (
                "(HTTP code 404) unexpected - no matching manifest for linux/arm64/v8 in the manifest list entries",
                PullFailure::NotFound,
            ),
            (
                "(HTTP code 404) unexpected - pull access denied for x, repository does not exist or may require 'docker login'",
                PullFailure::Denied,
            ),
            (
                "(HTTP code 500) server error - Get \"http://127.0.0.1:5001/v2/\": dial tcp 127.0.0.1:5001: connect: connection refused ",
                PullFailure::RegistryAway,
            ),
            (
                "(HTTP code 500) server error - Get \"https://r.example/v2/\": dial tcp: lookup r.example on 10.0.0.1:53: no such host",
                PullFailure::RegistryAway,
            ),
            (
                "write /mnt/data/docker/data/tmp/GetImageBlob4181240305: no space left on device",
                PullFailure::DiskFull,
            ),
            ("unexpected commit digest", PullFailure::Other),
        ] {
            assert_eq!(PullFailure::of(message), failure, "{message}");
        }
    }
}
