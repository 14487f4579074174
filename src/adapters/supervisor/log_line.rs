//! What a line of the Supervisor's log says.
//!
//! `GET /v2/local/logs` streams lines of JSON. Those of the Supervisor itself have `isSystem`; the others are the output
//! of containers, which may be a thousand lines a second, and are neither parsed nor logged.

use crate::adapters::redact::one_line;
use crate::lifecycle::event::Event;
use crate::lifecycle::progress::fact::{LogFact, PullFailure};
use serde::Deserialize;
use std::collections::VecDeque;

/// Marks a line of the Supervisor. In a message of a container its quotes would be escaped.
const SYSTEM: &[u8] = br#""isSystem":true"#;
/// Where the rarest byte of [`SYSTEM`] is.
const RARE: usize = 3;
/// Length limits of texts that are passed on, characters.
const IMAGE_MAX: usize = 300;
const MESSAGE_MAX: usize = 200;
/// How many services that are being stopped are remembered.
const STOPPING_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    message: String,
    #[serde(default)]
    is_system: bool,
}

/// Whether this can be a line of the Supervisor. Cheap, for lines that come a thousand times a second.
pub(super) fn may_be_system(line: &[u8]) -> bool {
    line.iter()
        .enumerate()
        .any(|(at, byte)| *byte == SYSTEM[RARE] && at >= RARE && line[at - RARE..].starts_with(SYSTEM))
}

/// Turns the lines of one stream into events.
#[derive(Default)]
pub(super) struct LineReader {
    /// Services that the Supervisor is stopping: their exit is its own doing.
    stopping: VecDeque<String>,
}

impl LineReader {
    pub(super) fn event(&mut self, line: &[u8], key: &str) -> Option<Event> {
        let line: Line = serde_json::from_slice(line).ok()?;
        if !line.is_system {
            return None;
        }
        let short = |text: &str, max| one_line(text, &[key], max);
        if let Some(rest) = line.message.strip_prefix("Updates are locked, retrying in ") {
            return locked(rest, |service| short(service, IMAGE_MAX)).map(Event::SupervisorLogged);
        }
        let (what, rest) = line.message.split_once(" '")?;
        if what == "Failed to download image" {
            let (image, message) = rest.split_once("' due to '")?;
            let message = message.strip_suffix('\'').unwrap_or(message);
            return Some(Event::SupervisorLogged(LogFact::PullFailed {
                image: short(image, IMAGE_MAX),
                failure: PullFailure::of(message),
                message: short(message.trim(), MESSAGE_MAX),
            }));
        }
        let object = rest.strip_suffix('\'')?;
        let image = || short(object, IMAGE_MAX);
        let service = || short(object.split(' ').next().unwrap_or_default(), IMAGE_MAX);
        let fact = match what {
            "Downloading image" | "Downloading delta for image" => LogFact::PullBegan { image: image() },
            "Downloaded image" => LogFact::PullDone { image: image() },
            "Killing service" => {
                self.stopping.truncate(STOPPING_MAX - 1);
                self.stopping.push_front(object.to_owned());
                LogFact::Stopping { service: service() }
            }
            "Starting service" => {
                self.stopping.retain(|stopping| stopping != object);
                LogFact::Starting { service: service() }
            }
            "Started service" => LogFact::Started { service: service() },
            // In the state that the Supervisor reports, a container that exits repeatedly under `restart: always` stays
            // `Running` with the same id (observed); only the log shows the exits.
            "Service exited" if !self.stopping.iter().any(|stopping| stopping == object) => {
                return Some(Event::ServiceExited { service: service() });
            }
            _ => return None,
        };
        Some(Event::SupervisorLogged(fact))
    }
}

/// `8s. Reason: Lockfile exists for { appId: 1, service: onebox }`
fn locked(text: &str, short: impl Fn(&str) -> String) -> Option<LogFact> {
    let (seconds, reason) = text.split_once("s.")?;
    let seconds: f64 = seconds.parse().ok()?;
    let service = reason
        .split_once("service: ")
        .map(|(_, rest)| rest.trim_end_matches(['}', ' ', ',']))
        .filter(|service| !service.is_empty());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a day; NaN becomes 0"
    )]
    let retry_millis = (seconds * 1000.0).clamp(0.0, 86_400_000.0) as u64;
    Some(LogFact::Locked {
        service: service.map(short),
        retry_millis,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_containers_are_told_from_those_of_the_supervisor_without_reading_them() {
        for (line, system) in [
            (
                r#"{"message":"Taking update locks","isSystem":true,"timestamp":1}"#,
                true,
            ),
            (
                r#"{"serviceName":"a","message":"say \"isSystem\":true","serviceId":1}"#,
                false,
            ),
            (r#"{"serviceName":"a","message":"SSSS","isSystem":false}"#, false),
            ("S", false),
            ("", false),
        ] {
            assert_eq!(may_be_system(line.as_bytes()), system, "{line}");
        }
    }
}
