//! The house keeps itself: the workspace's imports are read and held to docs/architecture.md §1 and §6. A failure
//! names the line and the rule.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod circles;
mod modules;
mod rules;
mod source;
mod teeth;

use circles::circles;
use modules::Modules;
use rules::{MAX_LINES, forbidden, foreign_crates, impure};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates of the workspace; `baserunner` is the root package.
fn workspace() -> Vec<Modules> {
    [
        ("baserunner", "src/lib.rs"),
        ("baseos_interfaces", "crates/interfaces/src/lib.rs"),
        ("cloudly_baseos", "crates/cloudly/src/lib.rs"),
        ("cloudly program", "crates/cloudly/src/main.rs"),
        ("baseos_simulator", "crates/simulator/src/lib.rs"),
    ]
    .map(|(name, file)| Modules::read(root(), name, Path::new(file)))
    .into()
}

/// Every crate that some package of the workspace depends on, as paths name it.
fn externals() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let names = |table: &toml::Value| -> Vec<String> {
        let table = table.as_table().unwrap();
        table.keys().map(|name| name.replace('-', "_")).collect()
    };
    let mut all = names(&manifest["workspace"]["dependencies"]);
    all.extend(names(&manifest["dependencies"]));
    all
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let found: Vec<_> = workspace()
        .iter()
        .flat_map(|modules| [forbidden(&modules.arrows()), foreign_crates(modules)].concat())
        .collect();
    assert_none(&found);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let found: Vec<_> = workspace()
        .iter()
        .flat_map(|modules| circles(&modules.arrows()))
        .collect();
    assert_none(&found);
}

#[test]
fn pure_code_reaches_no_clock_file_socket_or_random_number() {
    let externals = externals();
    let found: Vec<_> = workspace()
        .iter()
        .flat_map(|modules| impure(modules, &externals))
        .collect();
    assert_none(&found);
}

#[test]
fn no_file_is_longer_than_the_hard_cap() {
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 200,
        "{} files are not the whole workspace",
        files.len()
    );
    let found: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let lines = std::fs::read_to_string(file).unwrap().lines().count();
            let shown = file.strip_prefix(root()).unwrap().display();
            (lines > MAX_LINES).then(|| format!("{shown}:{lines}: a file has at most {MAX_LINES} lines"))
        })
        .collect();
    assert_none(&found);
}
