//! The commands that ask the running agent.

use super::client::{Client, ClientError};
use super::exit::ExitCode;
use super::render::{self, Console};
use baseos_interfaces::local::{Check, CloudlyStatus, Doctor, JoinRequest, LocalStatus, Locks};
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde::Serialize;
use serde_json::json;
use std::io::BufRead;
use std::path::Path;

/// What can be looked at when no agent runs: the state file, the Supervisor, Cloudly. Performed by main, which
/// knows the configuration.
pub trait OneShot {
    /// Looks once; one line a check.
    fn checks(&self) -> impl Future<Output = Vec<Check>> + Send;
}

/// `status`: what the agent is doing. With no agent running, what can be seen from outside, and exit 1.
pub async fn status(
    run_dir: &Path,
    json: bool,
    offline: &impl OneShot,
    console: &mut Console<'_>,
) -> ExitCode {
    match Client::new(run_dir).get::<LocalStatus>("/v1/status").await {
        Ok(status) if json => print_json(console, &status),
        Ok(status) => {
            let text = render::status(&status, console.paint());
            console.print(&text);
            ExitCode::Ok
        }
        Err(ClientError::NotRunning(_)) => not_running(json, offline, console).await,
        Err(error) => fail(console, &error),
    }
}

/// `doctor`: exit 1 when a check is not ok, or no agent runs.
pub async fn doctor(
    run_dir: &Path,
    json: bool,
    offline: &impl OneShot,
    console: &mut Console<'_>,
) -> ExitCode {
    match Client::new(run_dir).get::<Doctor>("/v1/doctor").await {
        Ok(doctor) => {
            if json {
                print_json(console, &doctor);
            } else {
                let text = render::doctor(&doctor, console.paint());
                console.print(&text);
            }
            if doctor.checks.iter().all(|check| check.ok) {
                ExitCode::Ok
            } else {
                ExitCode::Failed
            }
        }
        Err(ClientError::NotRunning(_)) => not_running(json, offline, console).await,
        Err(error) => fail(console, &error),
    }
}

async fn not_running(json: bool, offline: &impl OneShot, console: &mut Console<'_>) -> ExitCode {
    let checks = offline.checks().await;
    if json {
        print_json(console, &json!({ "agentRunning": false, "checks": checks }));
    } else {
        let checks = render::doctor(&Doctor { checks }, console.paint());
        console.print(&format!("The agent is not running.\n\n{checks}"));
    }
    ExitCode::Failed
}

/// `locks`: who holds update locks.
pub async fn locks(run_dir: &Path, json: bool, console: &mut Console<'_>) -> ExitCode {
    match Client::new(run_dir).get::<Locks>("/v1/locks").await {
        Ok(locks) if json => print_json(console, &locks),
        Ok(locks) => {
            let text = render::locks(&locks, console.paint());
            console.print(&text);
            ExitCode::Ok
        }
        Err(error) => fail(console, &error),
    }
}

/// `healthcheck`: exit 0 when the agent answers within 3 s; silent then.
pub async fn healthcheck(run_dir: &Path, console: &mut Console<'_>) -> ExitCode {
    match Client::new(run_dir).health().await {
        Ok(()) => ExitCode::Ok,
        Err(error) => fail(console, &error),
    }
}

/// `join`: hands the agent a join token; `-` reads its first line from `stdin`.
pub async fn join(
    run_dir: &Path,
    token: &WireSecret,
    replace: bool,
    stdin: impl BufRead,
    console: &mut Console<'_>,
) -> ExitCode {
    let mut line = String::new();
    let text = if token.expose() == "-" {
        // Far more than a token has, so that a wrong pipe does not fill the memory.
        if let Err(error) = stdin.take(4096).read_line(&mut line) {
            console.complain(&format!("Cannot read the join token: {error}."));
            return ExitCode::Usage;
        }
        line.as_str()
    } else {
        token.expose()
    };
    // Asked here already, so that a typing error is told apart from a refusal even with no agent running.
    let token = match Token::parse(TokenKind::Join, text) {
        Ok(token) => token,
        Err(error) => {
            let error = error.to_string();
            let stop = if error.ends_with('?') { "" } else { "." };
            console.complain(&format!("This is not a join token: {error}{stop}"));
            return ExitCode::Usage;
        }
    };
    let request = JoinRequest {
        join_token: (&token).into(),
        replace,
    };
    match Client::new(run_dir)
        .post::<CloudlyStatus>("/v1/join", &request)
        .await
    {
        Ok(_) => {
            console.print(&format!(
                "The agent enrols with join token {}. `baserunner status` shows how it goes.\n",
                token.id()
            ));
            ExitCode::Ok
        }
        Err(error @ ClientError::NotRunning(_)) => {
            fail(console, &error);
            console.complain(
                "Start it with the token in BASEOS_JOIN_TOKEN (or in its configuration file), or start it and \
                 run this again.",
            );
            ExitCode::Failed
        }
        Err(error) => fail(console, &error),
    }
}

/// `version`: name, version, target.
pub fn version(console: &mut Console<'_>) -> ExitCode {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    console.print(&format!("baserunner {} {arch}-{os}\n", env!("CARGO_PKG_VERSION")));
    ExitCode::Ok
}

fn print_json(console: &mut Console<'_>, value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            console.print(&format!("{text}\n"));
            ExitCode::Ok
        }
        Err(error) => {
            console.complain(&format!("Cannot write JSON: {error}."));
            ExitCode::Internal
        }
    }
}

fn fail(console: &mut Console<'_>, error: &ClientError) -> ExitCode {
    console.complain(&error.to_string());
    ExitCode::Failed
}

#[cfg(test)]
mod tests;
