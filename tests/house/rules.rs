//! The rules of docs/architecture.md §1 and §6: who may use whom, and what must stay pure.

use crate::modules::{Arrow, Modules};
use std::path::Path;

/// A place in the tree and the places it may use. Longer prefixes come first: the first that fits counts.
struct Area {
    place: &'static str,
    may_use: &'static [&'static str],
    rule: &'static str,
}

const fn area(place: &'static str, may_use: &'static [&'static str], rule: &'static str) -> Area {
    Area { place, may_use, rule }
}

const AGENT: &[Area] = &[
    area(
        "src/lifecycle",
        &[],
        "lifecycle uses nothing of the agent but itself (architecture §1)",
    ),
    area(
        "src/runtime",
        &[
            "src/lifecycle",
            "src/telemetry",
            "src/vault.rs",
            "src/durable_file.rs",
            "src/failpoint.rs",
        ],
        "runtime drives the machine and knows no adapter (architecture §1)",
    ),
    area(
        "src/adapters",
        &[
            "src/lifecycle",
            "src/vault.rs",
            "src/proxy.rs",
            "src/failpoint.rs",
            "src/durable_file.rs",
            "src/adapters/http",
            "src/adapters/redact.rs",
        ],
        "adapters use the lifecycle's types and the seams, never each other, config or runtime (architecture §1)",
    ),
    area(
        "src/config",
        &[
            "src/vault.rs",
            "src/proxy.rs",
            "src/telemetry/logs/filter.rs",
            "src/telemetry/logs/format.rs",
        ],
        "config reads settings and knows nobody who uses them",
    ),
    area(
        "src/telemetry",
        &["src/lifecycle"],
        "telemetry shows events and effects and nothing else",
    ),
    area(
        "src/cli",
        &["src/telemetry", "src/config"],
        "the command line talks to the agent over the local API alone",
    ),
    area(
        "src/guard",
        &["src/lifecycle", "src/failpoint.rs", "src/durable_file.rs"],
        "the guard speaks with the agent through files alone (architecture §4)",
    ),
    area(
        "src/guard_program.rs",
        &[
            "src/adapters/host",
            "src/cli/exit.rs",
            "src/config/env.rs",
            "src/config/keys.rs",
            "src/failpoint.rs",
            "src/guard",
            "src/runtime/clock.rs",
            "src/telemetry/logs",
            "src/telemetry/redact.rs",
        ],
        "the guard's program is small: it has no more than the guard needs (architecture §4)",
    ),
    area(
        "src/durable_file.rs",
        &["src/failpoint.rs"],
        "a file is replaced without knowing what is in it",
    ),
    area("src/vault.rs", &[], "the vault is a seam"),
    area("src/proxy.rs", &[], "the proxy is a seam"),
    area("src/build_time.rs", &[], "the build time uses nothing"),
    area("src/failpoint.rs", &[], "fail points use nothing"),
    area("src/random.rs", &[], "randomness uses nothing"),
    area(
        "src/agent.rs",
        &[
            "src/adapters",
            "src/build_time.rs",
            "src/config",
            "src/lifecycle",
            "src/proxy.rs",
            "src/random.rs",
            "src/runtime",
            "src/telemetry",
            "src/vault.rs",
        ],
        "the agent is wired below the command line",
    ),
];

const CLOUDLY: &[Area] = &[
    area(
        "crates/cloudly/src/http",
        &[
            "crates/cloudly/src/service",
            "crates/cloudly/src/random.rs",
            "crates/cloudly/src/clock.rs",
            "crates/cloudly/src/auth/operators.rs",
            "crates/cloudly/src/metrics.rs",
        ],
        "http calls services and never opens storage (architecture §6)",
    ),
    area(
        "crates/cloudly/src/jobs",
        &["crates/cloudly/src/service", "crates/cloudly/src/clock.rs"],
        "jobs call services (architecture §6)",
    ),
    area(
        "crates/cloudly/src/service",
        &[
            "crates/cloudly/src/auth",
            "crates/cloudly/src/clock.rs",
            "crates/cloudly/src/metrics.rs",
            "crates/cloudly/src/presence",
            "crates/cloudly/src/random.rs",
            "crates/cloudly/src/settings.rs",
            "crates/cloudly/src/storage",
        ],
        "services call storage; nothing calls upwards (architecture §6)",
    ),
    area(
        "crates/cloudly/src/storage",
        &[
            "crates/cloudly/src/clock.rs",
            "crates/cloudly/src/metrics.rs",
            "crates/cloudly/src/presence/judge.rs",
            "crates/cloudly/src/presence/runs.rs",
            "crates/cloudly/src/settings.rs",
        ],
        "nothing calls upwards (architecture §6)",
    ),
    area(
        "crates/cloudly/src/maintenance",
        &[
            "crates/cloudly/src/auth/key_file.rs",
            "crates/cloudly/src/auth/pepper.rs",
            "crates/cloudly/src/settings.rs",
            "crates/cloudly/src/storage",
        ],
        "maintenance stands beside the server, on storage alone (architecture §6)",
    ),
    area(
        "crates/cloudly/src/presence",
        &["crates/cloudly/src/clock.rs"],
        "nothing calls upwards (architecture §6)",
    ),
    area(
        "crates/cloudly/src/auth",
        &["crates/cloudly/src/random.rs", "crates/cloudly/src/settings.rs"],
        "nothing calls upwards (architecture §6)",
    ),
];

const SIMULATOR: &[Area] = &[
    area(
        "crates/simulator/src/supervisor",
        &[
            "crates/simulator/src/clock.rs",
            "crates/simulator/src/json.rs",
            "crates/simulator/src/sync.rs",
            "crates/simulator/src/text.rs",
        ],
        "the simulated Supervisor knows no device and no harness",
    ),
    area(
        "crates/simulator/src/device",
        &[
            "crates/simulator/src/clock.rs",
            "crates/simulator/src/json.rs",
            "crates/simulator/src/supervisor",
            "crates/simulator/src/sync.rs",
            "crates/simulator/src/text.rs",
        ],
        "the simulated device knows no harness",
    ),
];

/// Code that must be pure, and the crates it may use.
struct Pure {
    place: &'static str,
    crates: &'static [&'static str],
    rule: &'static str,
}

const PURE: &[Pure] = &[
    Pure {
        place: "src/lifecycle",
        crates: &["baseos_interfaces", "serde", "serde_json", "statig", "thiserror"],
        rule: "lifecycle has no clock, IO, async or randomness (architecture §1)",
    },
    Pure {
        place: "src/guard/decide.rs",
        crates: &[],
        rule: "the guard decides without clock or IO (architecture §1)",
    },
    Pure {
        place: "crates/cloudly/src/presence/judge.rs",
        crates: &["baseos_interfaces", "jiff"],
        rule: "presence is judged without clock or IO (architecture §6)",
    },
    Pure {
        place: "crates/interfaces/src",
        crates: &[
            "crc",
            "jiff",
            "secrecy",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
        rule: "interfaces has no clock, IO, async or randomness (architecture §1)",
    },
];

/// Parts of std that reach the world.
const IMPURE_STD: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

/// Which crates of the workspace a crate may use outside its tests.
pub(crate) const WORKSPACE: &[(&str, &[&str])] = &[
    ("baseos_interfaces", &[]),
    ("baserunner", &["baseos_interfaces"]),
    ("cloudly_baseos", &["baseos_interfaces"]),
    ("cloudly program", &["baseos_interfaces", "cloudly_baseos"]),
    ("baseos_simulator", &["baseos_interfaces", "cloudly_baseos"]),
];

/// Longest a file may be.
pub(crate) const MAX_LINES: usize = 500;

/// Arrows that no rule allows.
pub(crate) fn forbidden(arrows: &[Arrow]) -> Vec<String> {
    arrows
        .iter()
        .filter_map(|arrow| {
            let areas = [AGENT, CLOUDLY, SIMULATOR].concat_areas();
            let area = areas
                .into_iter()
                .find(|area| arrow.from.starts_with(area.place))?;
            // A folder among the adapters is an area of its own.
            let own = match arrow.from.strip_prefix("src/adapters") {
                Ok(inside) => Path::new("src/adapters").join(inside.components().next()?),
                Err(_) => area.place.into(),
            };
            let allowed =
                arrow.to.starts_with(own) || area.may_use.iter().any(|place| arrow.to.starts_with(place));
            (!allowed).then(|| {
                format!(
                    "{}:{} uses {}: {}",
                    arrow.from.display(),
                    arrow.line,
                    arrow.to.display(),
                    area.rule
                )
            })
        })
        .collect()
}

trait Concat {
    fn concat_areas(&self) -> Vec<&'static Area>;
}

impl Concat for [&'static [Area]; 3] {
    fn concat_areas(&self) -> Vec<&'static Area> {
        self.iter().flat_map(|areas| areas.iter()).collect()
    }
}

/// What is not pure where it must be.
pub(crate) fn impure(modules: &Modules, externals: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for source in modules.sources() {
        let Some(pure) = PURE.iter().find(|pure| source.file.starts_with(pure.place)) else {
            continue;
        };
        let mut complain = |line: usize, what: &str| {
            found.push(format!("{}:{line}: {what}: {}", source.file.display(), pure.rule));
        };
        for used in &source.uses {
            let path: Vec<_> = used.path.iter().map(String::as_str).collect();
            let shown = path.join("::");
            if IMPURE_STD.iter().any(|forbidden| path.starts_with(forbidden)) {
                complain(used.line, &shown);
            }
            if externals.iter().any(|name| name == path[0]) && !pure.crates.contains(&path[0]) {
                complain(used.line, &format!("the crate {}", path[0]));
            }
            if path.last() == Some(&"now") {
                complain(used.line, &shown);
            }
        }
        for line in &source.asynchronous {
            complain(*line, "async");
        }
    }
    found
}

/// Uses of a crate of the workspace that this crate must not know.
pub(crate) fn foreign_crates(modules: &Modules) -> Vec<String> {
    let may_use = WORKSPACE
        .iter()
        .find(|(name, _)| *name == modules.name)
        .map_or(&[][..], |(_, may_use)| may_use);
    let mut found = Vec::new();
    for source in modules.sources() {
        for used in &source.uses {
            let first = used.path[0].as_str();
            let ours = WORKSPACE.iter().any(|(name, _)| *name == first);
            if ours && first != modules.name && !may_use.contains(&first) {
                found.push(format!(
                    "{}:{} uses {first}: {} may use {may_use:?} of the workspace (architecture §1)",
                    source.file.display(),
                    used.line,
                    modules.name
                ));
            }
        }
    }
    found
}

/// Lines that give a module a file of another name, or a file of tests a target of its own.
pub(crate) fn misplaced(file: &str, text: &str) -> Vec<String> {
    let rule = |line: &str| match line.trim_start() {
        line if line.starts_with("#[path") => Some("a module is the file of its name"),
        line if line.starts_with("[[test]]") => Some("a folder of tests is one target"),
        _ => None,
    };
    let found = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some((at + 1, rule(line)?)));
    found
        .map(|(line, rule)| format!("{file}:{line}: {rule}"))
        .collect()
}
