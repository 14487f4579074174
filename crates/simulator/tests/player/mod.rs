//! Plays recordings against the model, in virtual time.

mod compare;
mod keys;
mod lab;
mod play;

pub(crate) use lab::{At, Lab};

use baseos_simulator::json::Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The lines of a recording.
pub(crate) fn lines(file: &str) -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("recordings")
        .join(format!("{file}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| Json::parse(line.as_bytes()).unwrap())
        .collect()
}

/// What was compared.
#[derive(Default)]
pub(crate) struct Tally {
    compared: BTreeMap<String, usize>,
    skipped: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn compared(&mut self, file: &str) {
        *self.compared.entry(file.to_owned()).or_default() += 1;
    }

    pub(crate) fn skipped(&mut self, what: &str) {
        *self.skipped.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn requests(&self) -> usize {
        self.compared.values().sum()
    }

    pub(crate) fn report(&self) {
        for (file, count) in &self.compared {
            println!("{count:>4} compared in {file}");
        }
        for (what, count) in &self.skipped {
            println!("{count:>4} left out: {what}");
        }
        println!("{:>4} in {} recordings", self.requests(), self.compared.len());
    }
}
