//! Circles between files: files that use each other in a loop.

use crate::modules::Arrow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The states of the lifecycle use each other: that is the transition graph.
const TRANSITION_GRAPH: &str = "src/lifecycle/states";

/// One line per circle: its arrows, each with its line.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<String> {
    let arrows: Vec<_> = arrows
        .iter()
        .filter(|arrow| !(is_state(&arrow.from) && is_state(&arrow.to)))
        .collect();
    let mut next: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for arrow in &arrows {
        next.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let mut found = Vec::new();
    let mut told: BTreeSet<&Path> = BTreeSet::new();
    for start in next.keys() {
        let group: BTreeSet<&Path> = reached(start, &next)
            .into_iter()
            .filter(|file| reached(file, &next).contains(start))
            .collect();
        if group.is_empty() || told.contains(start) {
            continue;
        }
        told.extend(&group);
        let ties: Vec<_> = arrows
            .iter()
            .filter(|arrow| group.contains(&*arrow.from) && group.contains(&*arrow.to))
            .map(|arrow| {
                format!(
                    "  {}:{} -> {}",
                    arrow.from.display(),
                    arrow.line,
                    arrow.to.display()
                )
            })
            .collect();
        found.push(format!(
            "{} files use each other in a circle:\n{}",
            group.len(),
            ties.join("\n")
        ));
    }
    found
}

fn is_state(file: &Path) -> bool {
    file.starts_with(TRANSITION_GRAPH)
}

/// Every file that can be reached from one, itself only over a circle.
fn reached<'a>(start: &Path, next: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> BTreeSet<&'a Path> {
    let mut seen = BTreeSet::new();
    let mut queue: Vec<&Path> = next.get(start).into_iter().flatten().copied().collect();
    while let Some(file) = queue.pop() {
        let Some((file, _)) = next.get_key_value(file).map(|(file, to)| (*file, to)) else {
            continue;
        };
        if seen.insert(file) {
            queue.extend(next.get(file).into_iter().flatten().copied());
        }
    }
    seen
}
