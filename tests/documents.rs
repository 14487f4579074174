//! The documents say what is: their examples are read by the types they name, every code has its row, and what the
//! code's comments point to is there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use baseos_interfaces::codes::{Capability, ErrorCode, EventKind, FieldCode, IssueCode, ProblemCode};
use baseos_interfaces::desired::Policy;
use baseos_interfaces::heartbeat::{Heartbeat, HeartbeatAnswer};
use baseos_interfaces::problem::Problem;
use baseos_interfaces::register::{RegisterAnswer, RegisterRequest};
use baseos_interfaces::rules::check_release;
use baseos_interfaces::{admin, local};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// An example in a document: the type it names, and its text.
struct Example {
    place: String,
    kind: String,
    json: String,
}

fn examples() -> Vec<Example> {
    let mut documents = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut documents);
    documents
        .iter()
        .flat_map(|document| examples_of(document))
        .collect()
}

fn examples_of(document: &Path) -> Vec<Example> {
    let text = std::fs::read_to_string(document).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| **line == "```json");
    starts
        .map(|(at, _)| {
            let place = format!("{}:{}", document.strip_prefix(root()).unwrap().display(), at + 1);
            let kind = at
                .checked_sub(1)
                .and_then(|before| lines[before].strip_prefix("<!-- type: ")?.strip_suffix(" -->"))
                .unwrap_or_else(|| panic!("{place}: no `<!-- type: … -->` above the example"));
            let json: Vec<_> = lines[at + 1..]
                .iter()
                .take_while(|line| **line != "```")
                .copied()
                .collect();
            Example {
                place,
                kind: kind.to_owned(),
                json: json.join("\n"),
            }
        })
        .collect()
}

/// Reads an example, writes it again and looks for every member that it showed: a mistyped optional member would
/// otherwise be taken for an unknown one.
fn hold<T: DeserializeOwned + Serialize>(example: &Example) {
    let Example { place, kind, json } = example;
    let shown: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{place}: {error}"));
    let read: T =
        serde_json::from_value(shown.clone()).unwrap_or_else(|error| panic!("{place} is no {kind}: {error}"));
    let written = serde_json::to_value(read).unwrap();
    contains(&written, &shown, place);
}

fn contains(whole: &Value, part: &Value, place: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                // `null` and an empty list may be said by leaving them out.
                let silent = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                match whole.get(name) {
                    Some(found) => contains(found, value, &format!("{place}/{name}")),
                    None => assert!(silent, "{place}/{name} is no member of this type"),
                }
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{place}");
            for (at, (whole, part)) in whole.iter().zip(part).enumerate() {
                contains(whole, part, &format!("{place}/{at}"));
            }
        }
        _ => assert_eq!(whole, part, "{place}"),
    }
}

fn check(example: &Example) {
    match example.kind.as_str() {
        "Problem" => hold::<Problem>(example),
        "RegisterRequest" => hold::<RegisterRequest>(example),
        "RegisterAnswer" => hold::<RegisterAnswer>(example),
        "Heartbeat" => hold::<Heartbeat>(example),
        "HeartbeatAnswer" => {
            hold::<HeartbeatAnswer>(example);
            let answer: HeartbeatAnswer = serde_json::from_str(&example.json).unwrap();
            let desired = answer.instructions.desired;
            if let Some(app) = desired.and_then(|desired| desired.app) {
                check_release(&app.release).unwrap_or_else(|error| panic!("{}: {error}", example.place));
            }
        }
        "Handshake" => hold::<local::Handshake>(example),
        "LocalStatus" => hold::<local::LocalStatus>(example),
        "DeferRequest" => hold::<local::DeferRequest>(example),
        "UpdateAnswer" => hold::<local::UpdateAnswer>(example),
        "LockRequest" => hold::<local::LockRequest>(example),
        "Lock" => hold::<local::Lock>(example),
        "Locks" => hold::<local::Locks>(example),
        "JoinRequest" => hold::<local::JoinRequest>(example),
        "CloudlyStatus" => hold::<local::CloudlyStatus>(example),
        "Doctor" => hold::<local::Doctor>(example),
        "Notice" => hold::<local::Notice>(example),
        "CreateRelease" => {
            hold::<admin::CreateRelease>(example);
            let release: admin::CreateRelease = serde_json::from_str(&example.json).unwrap();
            check_release(&release).unwrap_or_else(|error| panic!("{}: {error}", example.place));
        }
        "CreateJoinToken" => hold::<admin::CreateJoinToken>(example),
        "SetDesired" => hold::<admin::SetDesired>(example),
        "CreateCommand" => hold::<admin::CreateCommand>(example),
        "Policy" => hold::<Policy>(example),
        other => panic!("{}: no type {other} is read here", example.place),
    }
}

#[test]
fn every_example_is_what_it_says_it_is() {
    let examples = examples();
    assert!(examples.len() > 20, "{} examples are not all", examples.len());
    examples.iter().for_each(check);
}

#[test]
fn every_code_of_the_wire_has_a_row_in_the_contract() {
    let contract = read("docs/contract.md");
    let names = [
        Capability::ALL.iter().map(Capability::as_str).collect::<Vec<_>>(),
        ErrorCode::ALL.iter().map(ErrorCode::as_str).collect(),
        EventKind::ALL.iter().map(EventKind::as_str).collect(),
        FieldCode::ALL.iter().map(FieldCode::as_str).collect(),
        IssueCode::ALL.iter().map(IssueCode::as_str).collect(),
        ProblemCode::ALL.iter().map(ProblemCode::as_str).collect(),
    ]
    .concat();
    assert!(names.len() > 60, "{} codes are not all", names.len());
    let missing: Vec<_> = names
        .into_iter()
        .filter(|name| {
            let cell = format!("`{name}`");
            !contract
                .lines()
                .any(|line| line.starts_with('|') && line.contains(&cell))
        })
        .collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
}

/// `contract §4.11`: section 4 has a point 11.
#[test]
fn what_comments_point_to_in_the_documents_is_there() {
    let mut sources = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        files(&root().join(folder), "rs", &mut sources);
    }
    let documents = [
        ("contract", read("docs/contract.md")),
        ("architecture", read("docs/architecture.md")),
    ];
    let (mut found, mut wrong) = (0, Vec::new());
    for source in sources
        .iter()
        .filter(|source| !source.ends_with("tests/documents.rs"))
    {
        let text = std::fs::read_to_string(source).unwrap();
        for (at, line) in text.lines().enumerate() {
            for (name, document) in &documents {
                for place in references(line, name) {
                    found += 1;
                    if !has_place(document, &place) {
                        let source = source.strip_prefix(root()).unwrap().display();
                        wrong.push(format!("{source}:{}: {name} has no §{place}", at + 1));
                    }
                }
            }
        }
    }
    assert!(found > 30, "{found} references are not all");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The places after `name §`, e.g. `4.11`; several may follow: `contract §1, §3`.
fn references(line: &str, name: &str) -> Vec<String> {
    let mut places = Vec::new();
    for start in [format!("{name} §"), format!("{name}.md §")] {
        for (at, _) in line.match_indices(&start) {
            let rest = &line[at + start.len() - "§".len()..];
            for part in rest.split(", ").flat_map(|part| part.split(" and ")) {
                let Some(place) = part.strip_prefix('§') else {
                    break;
                };
                let digits = place.chars().take_while(|c| c.is_ascii_digit() || *c == '.');
                places.push(digits.collect::<String>().trim_end_matches('.').to_owned());
            }
        }
    }
    places
}

fn has_place(document: &str, place: &str) -> bool {
    let (section, point) = match place.split_once('.') {
        Some((section, point)) => (section, Some(point)),
        None => (place, None),
    };
    let heading = format!("## {section}. ");
    let mut lines = document.lines().skip_while(|line| !line.starts_with(&heading));
    if lines.next().is_none() {
        return false;
    }
    let Some(point) = point else { return true };
    let item = format!("{point}. ");
    lines
        .take_while(|line| !line.starts_with("## "))
        .any(|line| line.starts_with(&item))
}

#[test]
fn a_reference_to_a_place_that_is_missing_is_noticed() {
    let document = "## 4. Heartbeat\n\n1. one\n11. eleven\n\n## 5. States\n2. two\n";
    assert!(has_place(document, "4") && has_place(document, "4.11") && has_place(document, "5.2"));
    assert!(!has_place(document, "4.2") && !has_place(document, "6") && !has_place(document, "5.1"));
    assert_eq!(
        references("see contract §1, §4.11 and §6 (why)", "contract"),
        ["1", "4.11", "6"]
    );
    assert_eq!(references("(docs/architecture.md §1)", "architecture"), ["1"]);
}

const LAST_FAULT: usize = 47;

/// What is wrong with the table of faults: each number once, and each with tests that are there, or below as one that waits.
fn problems_of_faults(document: &str, has_test: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<_> = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split(" | ")
            .collect();
        let number: usize = cells.first()?.parse().ok()?;
        Some((number, cells))
    });
    let (mut problems, mut seen) = (Vec::new(), Vec::new());
    for (number, cells) in rows {
        seen.push(number);
        let (fault, holds, tests) = match *cells.as_slice() {
            [_, fault, holds, tests] => (fault, holds, tests),
            // It waits for host updates.
            [_, fault] if !fault.is_empty() => continue,
            _ => {
                problems.push(format!("{number} has {} cells", cells.len()));
                continue;
            }
        };
        if fault.is_empty() || holds.is_empty() {
            problems.push(format!("{number} says nothing"));
        }
        let mut file = "";
        for test in tests.split(", ") {
            let named = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            match named.and_then(|named| named.split_once("::")) {
                // Of the same file as the test before.
                Some(("", name)) if has_test(file, name) => {}
                Some((of, name)) if has_test(of, name) => file = of,
                _ => problems.push(format!("{number}: no test {test}")),
            }
        }
    }
    seen.sort_unstable();
    for number in 1..=LAST_FAULT.max(seen.last().copied().unwrap_or(0)) {
        match seen.iter().filter(|seen| **seen == number).count() {
            1 if number <= LAST_FAULT => {}
            rows => problems.push(format!("{number} has {rows} rows")),
        }
    }
    problems
}

/// A function of this name with an attribute of a test above it.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim_start).collect();
    let is_declared = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    let declared = lines.iter().position(|line| is_declared(line));
    declared.is_some_and(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        let mut above = above.copied();
        above.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_fault_has_its_row_and_every_test_of_a_row_is_there() {
    let problems = problems_of_faults(&read("docs/develop/faults.md"), |file, name| {
        root().join(file).is_file() && is_test(&read(file), name)
    });
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn a_row_of_faults_that_is_missing_or_names_no_test_is_noticed() {
    let rows = |skipped: usize, test: &str| {
        let numbers = (1..=LAST_FAULT).filter(|number| *number != skipped);
        let rows = numbers.map(|number| format!("| {number} | a fault | this holds | {test} |"));
        rows.collect::<Vec<_>>().join("\n")
    };
    let check = |document: &str| problems_of_faults(document, |file, name| (file, name) == ("a.rs", "holds"));
    assert_eq!(check(&rows(0, "`a.rs::holds`")), Vec::<String>::new());
    assert_eq!(check(&rows(0, "`a.rs::holds`, `::holds`")), Vec::<String>::new());
    assert_eq!(check(&rows(0, "`::holds`")).len(), LAST_FAULT);
    let waiting = format!("{}\n| 7 | a fault |", rows(7, "`a.rs::holds`"));
    assert_eq!(check(&waiting), Vec::<String>::new());
    assert_eq!(check(&format!("{waiting}\n| 8 | again |")), ["8 has 2 rows"]);
    assert_eq!(check(&rows(7, "`a.rs::holds`")), ["7 has 0 rows"]);
    assert_eq!(check(&rows(LAST_FAULT, "`a.rs::holds`")), ["47 has 0 rows"]);
    assert_eq!(check(&rows(0, "`a.rs::other`")).len(), LAST_FAULT);
    assert_eq!(check(&rows(0, "")).len(), LAST_FAULT);
    let source =
        "#[test]\nfn holds() {}\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\nasync fn later() {}\n";
    assert!(is_test(source, "holds") && is_test(source, "later"));
    assert!(!is_test(source, "helper") && !is_test(source, "hold"));
}
