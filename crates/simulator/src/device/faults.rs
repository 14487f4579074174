//! Scripted faults of the Supervisor's HTTP API.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// An exact path, a prefix that ends in `*`, or `*`.
    pub path: String,
    /// `None`: every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// For how many requests; `None`: until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    pub kind: FaultKind,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// No answer; nothing is done.
    Hang,
    /// The right answer after this time.
    Slow { millis: u64 },
    /// This status; nothing is done.
    Status { code: u16 },
    /// 401 `Unauthorized`, as after a change of the key; nothing is done.
    Unauthorized,
    /// 200 and a body that is not JSON; nothing is done.
    Garbage,
    /// 200 and a JSON body that never ends; nothing is done.
    EndlessBody,
    /// 200, `Content-Encoding: gzip`, 1 MB that unpacks to about 160 MB; nothing is done.
    GzipBomb,
    /// The right answer with the content type `text/plain`.
    WrongContentType,
    /// Half of the right answer, then the connection is closed.
    Truncated,
    /// The connection is closed without an answer; nothing is done.
    Dropped,
    /// It is done, then the connection is closed without an answer: a retry must not do it twice.
    DroppedAfter,
}

impl Fault {
    /// Until it is cleared.
    pub fn on(path: &str, kind: FaultKind) -> Self {
        Self {
            path: path.to_owned(),
            method: None,
            count: None,
            kind,
        }
    }

    /// For this many requests.
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

    /// The fault for this request, if there is one; counts it.
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

/// A gzip stream that unpacks to more than 150 times its size: one literal, then copies of it.
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
    fn a_counted_fault_applies_to_that_many_requests_of_its_path() {
        let mut faults = Faults::default();
        faults.add(Fault::on("/v2/*", FaultKind::Hang).times(2));
        assert_eq!(faults.take("GET", "/v1/device"), None);
        assert_eq!(faults.take("GET", "/v2/version"), Some(FaultKind::Hang));
        assert_eq!(faults.take("GET", "/v2/state/status"), Some(FaultKind::Hang));
        assert_eq!(faults.take("GET", "/v2/version"), None);
    }
}
