//! Writes a walk down: as a picture and as a table.

use super::walk::Walk;
use crate::lifecycle::Transition;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The superstates above each leaf, innermost first.
pub(super) type Nesting = BTreeMap<&'static str, Vec<&'static str>>;

fn id(name: &str) -> String {
    name.split('-')
        .map(|part| part[..1].to_uppercase() + &part[1..])
        .collect()
}

fn node(name: &str) -> String {
    if ["root", "enrolled", "updating"].contains(&name) {
        name.to_owned()
    } else {
        id(name)
    }
}

pub(super) fn mermaid(walk: &Walk, nesting: &Nesting) -> String {
    let mut out = String::from("stateDiagram-v2\n    [*] --> Unenrolled\n");
    let children = |of: &'static str| {
        nesting
            .iter()
            .filter(move |(_, above)| above.first() == Some(&of))
            .map(|(leaf, _)| *leaf)
    };
    let _ = writeln!(out, "    state enrolled {{");
    for leaf in children("enrolled") {
        let _ = writeln!(out, "        {}", id(leaf));
    }
    let _ = writeln!(out, "        state updating {{");
    for leaf in children("updating") {
        let _ = writeln!(out, "            {}", id(leaf));
    }
    let _ = writeln!(out, "        }}\n    }}");
    let mut merged: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for ((by, from, to), causes) in &walk.edges {
        merged
            .entry(ends(by, from, to))
            .or_default()
            .extend(causes.iter().map(String::as_str));
    }
    for ((from, to), causes) in merged {
        let causes: Vec<_> = causes.into_iter().collect();
        let _ = writeln!(out, "    {from} --> {to}: {}", causes.join(", "));
    }
    out
}

/// Where the arrow of a move begins and ends in the picture: it starts at whoever decided, once at a superstate and not
/// once for each of its leaves.
fn ends(by: &str, from: &str, to: &str) -> (String, String) {
    let start = if by == "root" { from } else { by };
    (node(start), node(to))
}

/// Whether a picture has the arrow of this move.
pub(crate) fn has_arrow(picture: &str, moved: &Transition) -> bool {
    let (from, to) = ends(&moved.by, moved.from.as_str(), moved.to.as_str());
    picture.contains(&format!("    {from} --> {to}: "))
}

pub(super) fn table(walk: &Walk) -> String {
    let mut out =
        String::from("| decided by | event | leads to | effects seen |\n| --- | --- | --- | --- |\n");
    for ((by, event), (targets, effects)) in &walk.reactions {
        if targets.is_empty() && effects.is_empty() {
            continue;
        }
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        let effects: Vec<_> = effects.iter().copied().collect();
        let _ = writeln!(
            out,
            "| {by} | {event} | {} | {} |",
            targets.join(", "),
            effects.join(", ")
        );
    }
    out
}
