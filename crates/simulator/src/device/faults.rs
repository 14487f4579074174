//! Scripted faults of the Supervisor's HTTP API.

use serde::{Deserialize, Serialize};

/// A fault: which requests, how often, what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// An exact path, a prefix ending in `*`, or `*`.
    pub path: String,
    /// Only this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How many requests; `None`: until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// No answer ever; nothing is done.
    Hang,
    /// Everything as usual, but so much later.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
    /// This status; nothing is done.
    Status {
        /// e.g. 503.
        code: u16,
    },
    /// 401 `Unauthorized`, as after a change of the key; nothing is done.
    Unauthorized,
    /// 200 and a body that is not JSON; nothing is done.
    Garbage,
    /// 200 and a JSON body that never ends; nothing is done.
    EndlessBody,
    /// 200, `Content-Encoding: gzip`, a megabyte that unpacks to some 160; nothing is done.
    GzipBomb,
    /// The right answer, called `text/plain`.
    WrongContentType,
    /// The right answer, cut off half way.
    Truncated,
    /// The connection is closed without an answer; nothing is done.
    Dropped,
    /// It is done, and the connection is closed without an answer: what a retry must not do twice.
    DroppedAfter,
}

impl Fault {
    /// A fault on a path, until it is cleared.
    pub fn on(path: &str, kind: FaultKind) -> Self {
        Self {
            path: path.to_owned(),
            method: None,
            count: None,
            kind,
        }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let path = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        };
        path && self.method.as_deref().is_none_or(|wanted| wanted == method)
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that befalls this request, counted.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        let at = self.0.iter().position(|fault| fault.matches(method, path))?;
        let fault = &mut self.0[at];
        let kind = fault.kind;
        if let Some(count) = &mut fault.count {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(at);
            }
        }
        Some(kind)
    }
}

/// A gzip stream that unpacks to 258 times itself and more: one literal, then copies of it.
pub(crate) fn gzip_bomb() -> Vec<u8> {
    // Header; then deflate with the fixed codes: symbol 285 (copy 258 bytes) is 11000101, distance 1 is 00000.
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Bits { byte: 0, filled: 0 };
    // Not the last block, fixed codes; the literal '0'.
    for bit in [0, 1, 0].into_iter().chain([0, 1, 1, 0, 0, 0, 0, 0]) {
        bits.push(&mut bytes, bit);
    }
    while bytes.len() < 1_000_000 {
        for bit in [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0] {
            bits.push(&mut bytes, bit);
        }
    }
    bytes
}

struct Bits {
    byte: u8,
    filled: u8,
}

impl Bits {
    fn push(&mut self, bytes: &mut Vec<u8>, bit: u8) {
        self.byte |= bit << self.filled;
        self.filled += 1;
        if self.filled == 8 {
            bytes.push(self.byte);
            *self = Self { byte: 0, filled: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_befalls_that_many_requests_and_no_other_path() {
        let mut faults = Faults::default();
        faults.add(Fault::on("/v2/*", FaultKind::Hang).times(2));
        assert_eq!(faults.take("GET", "/v1/device"), None);
        assert_eq!(faults.take("GET", "/v2/version"), Some(FaultKind::Hang));
        assert_eq!(faults.take("GET", "/v2/state/status"), Some(FaultKind::Hang));
        assert_eq!(faults.take("GET", "/v2/version"), None);
    }
}
