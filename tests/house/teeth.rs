//! Each check finds what it is for: small crates that break one rule each.

use crate::circles::circles;
use crate::modules::Modules;
use crate::rules::{forbidden, foreign_crates, impure, misplaced};

fn agent(texts: &[(&str, &str)]) -> Modules {
    Modules::of("baserunner", texts)
}

fn only(found: &[String]) -> &str {
    assert_eq!(found.len(), 1, "{found:#?}");
    &found[0]
}

#[test]
fn finds_an_arrow_from_the_lifecycle_to_an_adapter_and_names_line_and_rule() {
    let modules = agent(&[
        ("src/lib.rs", "mod adapters; mod lifecycle;"),
        ("src/lifecycle/mod.rs", "\nuse crate::adapters::store::StateFile;"),
        ("src/adapters/mod.rs", "pub mod store;"),
        ("src/adapters/store/mod.rs", "pub struct StateFile;"),
    ]);
    let found = forbidden(&modules.arrows());
    let line = only(&found);
    assert!(
        line.starts_with("src/lifecycle/mod.rs:2 uses src/adapters/store/mod.rs: lifecycle uses nothing"),
        "{line}"
    );
}

#[test]
fn finds_an_adapter_that_uses_another_one_through_a_reexport_or_an_inline_path() {
    for body in [
        "use crate::adapters::Shared;",
        "fn f() { crate::adapters::store::g(); }",
        "fn f() { log!(\"{}\", crate::adapters::store::g()); }",
        "use super::store::g;",
    ] {
        let modules = agent(&[
            ("src/lib.rs", "mod adapters;"),
            (
                "src/adapters/mod.rs",
                "pub mod store; pub mod host; pub use store::Shared;",
            ),
            ("src/adapters/store/mod.rs", "pub struct Shared; pub fn g() {}"),
            ("src/adapters/host/mod.rs", body),
        ]);
        assert!(
            only(&forbidden(&modules.arrows())).contains("never each other"),
            "{body}"
        );
    }
}

#[test]
fn a_test_module_may_use_what_it_wants_and_a_reexport_of_its_own_is_no_arrow() {
    let modules = agent(&[
        ("src/lib.rs", "mod adapters; mod lifecycle;"),
        (
            "src/lifecycle/mod.rs",
            "#[cfg(test)] mod tests { use crate::adapters::x; use tokio::time::sleep; }",
        ),
        ("src/adapters/mod.rs", "mod inner; pub use inner::x; "),
        ("src/adapters/inner.rs", "use super::other; pub fn x() {}"),
    ]);
    assert!(forbidden(&modules.arrows()[..0]).is_empty());
    assert!(circles(&modules.arrows()).is_empty(), "{:?}", modules.arrows());
}

#[test]
fn finds_a_circle_and_names_its_arrows() {
    let modules = agent(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b::B;"),
        ("src/b.rs", "use crate::c::C;"),
        ("src/c.rs", "fn f() -> crate::a::A { todo!() }"),
    ]);
    let found = circles(&modules.arrows());
    let circle = only(&found);
    assert!(circle.starts_with("3 files use each other"), "{circle}");
    assert!(circle.contains("src/c.rs:1 -> src/a.rs"), "{circle}");
}

#[test]
fn finds_a_circle_between_a_module_and_the_file_it_stands_in() {
    let modules = agent(&[
        ("src/lib.rs", "mod config;"),
        (
            "src/config/mod.rs",
            "mod read; pub struct Error; fn f() { read::all(); }",
        ),
        ("src/config/read.rs", "use super::Error; pub fn all() {}"),
    ]);
    assert!(only(&circles(&modules.arrows())).starts_with("2 files"));
}

#[test]
fn states_may_use_each_other_but_not_in_a_circle_with_the_rest() {
    let graph = agent(&[
        ("src/lib.rs", "mod lifecycle;"),
        ("src/lifecycle/mod.rs", "mod states;"),
        (
            "src/lifecycle/states/mod.rs",
            "mod idle; mod failed; pub enum State { I(idle::Idle) }",
        ),
        (
            "src/lifecycle/states/idle.rs",
            "use super::failed::Failed; pub struct Idle;",
        ),
        (
            "src/lifecycle/states/failed.rs",
            "use super::idle::Idle; pub struct Failed;",
        ),
    ]);
    assert!(circles(&graph.arrows()).is_empty());
    let with_report = agent(&[
        ("src/lib.rs", "mod lifecycle;"),
        ("src/lifecycle/mod.rs", "mod states; mod report;"),
        ("src/lifecycle/states/mod.rs", "use crate::lifecycle::report::f;"),
        (
            "src/lifecycle/report.rs",
            "use crate::lifecycle::states::State; pub fn f() {}",
        ),
    ]);
    assert_eq!(circles(&with_report.arrows()).len(), 1);
}

#[test]
fn finds_each_kind_of_impurity_in_the_lifecycle() {
    let externals = ["tokio", "fastrand", "serde"].map(str::to_owned);
    for (body, says) in [
        ("use tokio::sync::mpsc;", "the crate tokio"),
        ("fn f() { fastrand::u64(..); }", "the crate fastrand"),
        ("use std::fs;", "std::fs"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("fn f() { let _ = Timestamp::now(); }", "Timestamp::now"),
        ("async fn f() {}", "async"),
        ("fn f() { let _ = async {}; }", "async"),
        (
            "fn f() { format!(\"{:?}\", std::env::args()); }",
            "std::env::args",
        ),
    ] {
        let text = format!("use serde::Serialize;\n{body}");
        let modules = agent(&[("src/lib.rs", "mod lifecycle;"), ("src/lifecycle/mod.rs", &text)]);
        let found = impure(&modules, &externals);
        let line = only(&found);
        assert!(
            line.starts_with("src/lifecycle/mod.rs:2: ") && line.contains(says),
            "{line}"
        );
    }
    let modules = agent(&[
        ("src/lib.rs", "mod lifecycle;"),
        (
            "src/lifecycle/mod.rs",
            "use serde::Serialize; use std::time::Duration; use std::collections::BTreeMap;",
        ),
    ]);
    assert!(impure(&modules, &externals).is_empty());
}

#[test]
fn finds_a_crate_that_the_agent_must_not_know() {
    let modules = agent(&[(
        "src/lib.rs",
        "use baseos_interfaces::token::Token;\nuse cloudly_baseos::Server;",
    )]);
    let found = foreign_crates(&modules);
    assert!(
        only(&found).starts_with("src/lib.rs:2 uses cloudly_baseos"),
        "{found:?}"
    );
}

#[test]
fn finds_a_module_with_a_file_of_another_name_and_a_target_of_one_file() {
    let path = misplaced("tests/api/main.rs", "mod a;\n#[path = \"../b.rs\"]\nmod b;\n");
    assert_eq!(
        only(&path),
        "tests/api/main.rs:2: a module is the file of its name"
    );
    let target = misplaced("Cargo.toml", "[package]\n\n[[test]]\nname = \"a\"\n");
    assert_eq!(only(&target), "Cargo.toml:3: a folder of tests is one target");
}
