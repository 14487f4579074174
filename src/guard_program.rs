//! The program `baserunner-guard`: the guard and nothing else.
//!
//! Most of a small process's memory are pages of its program, those around the ones it runs included. So the guard does
//! not stay in the agent's program: `baserunner guard` replaces itself by this one, which lies beside it in the image and
//! has no TLS, no server and no machine in it.

use crate::adapters::host;
use crate::cli::ExitCode;
use crate::config::{Environment, FAILPOINT, Key};
use crate::failpoint;
use crate::guard::{self, GuardSettings, SupervisorAddress};
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::telemetry::logs;
use crate::telemetry::redact::Redactor;
use baseos_interfaces::rules::{AGENT_STATE_DIR, GUARD_PROGRAM};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::str::FromStr;

/// Runs the guard until it is stopped. It takes no arguments: its settings are the agent's variables.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    if args.count() > 1 {
        let _ = writeln!(
            io::stderr(),
            "{GUARD_PROGRAM} takes no arguments; it is started by `baserunner guard`"
        );
        return ExitCode::Usage;
    }
    let environment = Environment::of_process();
    failpoint::arm(environment.get(FAILPOINT).map(str::to_owned));
    let redactor = Redactor::default();
    let mut warnings = Vec::new();
    let filter = parsed(&environment, Key::Log, &mut warnings);
    let format = parsed(&environment, Key::LogFormat, &mut warnings);
    if let Err(error) = logs::start(filter, format, false, &redactor) {
        let _ = writeln!(io::stderr(), "{error}");
        return ExitCode::Configuration;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut clock = SystemClock::default();
    match guard::run(settings(&environment, &redactor), move || clock.stamp()) {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::Configuration
        }
    }
}

fn settings(environment: &Environment, redactor: &Redactor) -> GuardSettings {
    let address = given(environment, Key::SupervisorAddress);
    let key = given(environment, Key::SupervisorApiKey);
    GuardSettings {
        state_dir: given(environment, Key::StateDir)
            .unwrap_or(AGENT_STATE_DIR)
            .into(),
        supervisor: address.zip(key).map(|(address, key)| {
            redactor.add(key);
            SupervisorAddress {
                address: address.to_owned(),
                key: key.to_owned().into(),
            }
        }),
        boot_id: host::boot_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A variable's value. An empty one counts as not set.
fn given(environment: &Environment, key: Key) -> Option<&str> {
    let value = environment.get(key.spec().env);
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// A wrong value must not keep the guard from its work: it counts as not set.
fn parsed<T>(environment: &Environment, key: Key, warnings: &mut Vec<String>) -> T
where
    T: Default + FromStr,
    T::Err: Display,
{
    let value = given(environment, key).map(str::parse);
    match value {
        None => T::default(),
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            warnings.push(format!("{} counts as not set: {error}", key.spec().env));
            T::default()
        }
    }
}
