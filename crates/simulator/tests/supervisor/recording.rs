//! Reading of recordings, and the count of what was compared.

use baseos_simulator::json::Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The lines of `recordings/FILE.jsonl`.
pub(crate) fn lines(file: &str) -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("recordings")
        .join(format!("{file}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| Json::parse(line.as_bytes()).unwrap())
        .collect()
}

/// The body of the n-th POST of a recording.
pub(crate) fn posted_body(file: &str, nth: usize) -> Json {
    lines(file)
        .into_iter()
        .filter(|line| line.get("method").and_then(Json::as_str) == Some("POST"))
        .nth(nth)
        .and_then(|line| line.get("body").cloned())
        .unwrap()
}

/// How many requests were compared and left out.
#[derive(Default)]
pub(crate) struct Coverage {
    compared: BTreeMap<String, usize>,
    skipped: BTreeMap<String, usize>,
}

impl Coverage {
    pub(crate) fn compared(&mut self, file: &str) {
        *self.compared.entry(file.to_owned()).or_default() += 1;
    }

    pub(crate) fn skipped(&mut self, call: &str) {
        *self.skipped.entry(call.to_owned()).or_default() += 1;
    }

    /// Prints the counts and fails when too little was compared.
    pub(crate) fn assert_at_least(&self, requests: usize) {
        for (file, count) in &self.compared {
            println!("{count:>4} compared in {file}");
        }
        for (call, count) in &self.skipped {
            println!("{count:>4} left out: {call}");
        }
        let total: usize = self.compared.values().sum();
        println!("{total:>4} in {} recordings", self.compared.len());
        assert!(total >= requests, "only {total} requests were compared");
    }
}
