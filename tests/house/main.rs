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
use rules::{MAX_LINES, forbidden, foreign_crates, impure, misplaced};
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

/// Of each package, with a slash behind it; the root's is empty.
fn workspace_folders() -> impl Iterator<Item = String> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let names = crates.map(|folder| format!("crates/{}/", folder.unwrap().file_name().display()));
    std::iter::once(String::new()).chain(names)
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

/// The files of all code and tests, as their text.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 200,
        "{} files are not the whole workspace",
        files.len()
    );
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        (file.strip_prefix(root()).unwrap().display().to_string(), text)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn no_file_is_longer_than_the_hard_cap() {
    let found: Vec<_> = texts()
        .iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(file, text)| {
            format!(
                "{file}:{}: a file has at most {MAX_LINES} lines",
                text.lines().count()
            )
        })
        .collect();
    assert_none(&found);
}

#[test]
fn a_module_is_the_file_of_its_name_and_a_folder_of_tests_is_one_target() {
    let mut files = texts();
    let manifests = workspace_folders().map(|folder| format!("{folder}Cargo.toml"));
    files.extend(manifests.map(|file| {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        (file, text)
    }));
    let found: Vec<_> = files
        .iter()
        .flat_map(|(file, text)| misplaced(file, text))
        .collect();
    assert_none(&found);
}
