//! Where two releases differ, for whoever sends a commit again with other contents.

use baseos_interfaces::desired::Release;
use baseos_interfaces::problem::pointer;
use serde_json::Value;
use std::collections::BTreeSet;

/// How many members are named; the others are counted.
const NAMED: usize = 5;

/// The members of `sent` that are not as in `known`, by JSON pointer and without their values, which may be secrets.
pub(super) fn describe(sent: &Release, known: &Release) -> String {
    // The wire types consist of strings, numbers and maps with string keys; serde_json cannot fail on those.
    let json = |release| serde_json::to_value(release).unwrap_or_default();
    let mut found = Vec::new();
    compare(&json(sent), &json(known), &mut Vec::new(), &mut found);
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found.join(", ")
}

/// Objects are compared member by member, anything else as a whole.
fn compare<'a>(sent: &'a Value, known: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<String>) {
    let (Value::Object(sent_members), Value::Object(known_members)) = (sent, known) else {
        if sent != known {
            found.push(format!("{} differs", pointer(&*path)));
        }
        return;
    };
    let names: BTreeSet<_> = sent_members.keys().chain(known_members.keys()).collect();
    for name in names {
        path.push(name);
        match (sent_members.get(name), known_members.get(name)) {
            (Some(sent), Some(known)) => compare(sent, known, path, found),
            (Some(_), None) => found.push(format!("{} is new", pointer(&*path))),
            (None, _) => found.push(format!("{} is missing", pointer(&*path))),
        }
        path.pop();
    }
}
