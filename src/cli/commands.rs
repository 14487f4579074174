//! The commands that call the running agent.

use super::client::{Client, ClientError};
use super::console::Console;
use super::exit::ExitCode;
use super::render;
use baseos_interfaces::local::{Check, CloudlyStatus, Doctor, JoinRequest, LocalStatus, Locks};
use baseos_interfaces::terminal::plain_json;
use baseos_interfaces::token::{Token, TokenKind, WireSecret};
use serde::Serialize;
use serde_json::json;
use std::io::BufRead;
use std::path::Path;

/// Checks without a running agent: of the state file, the Supervisor and Cloudly. Implemented outside, where the
/// configuration and the adapters are known.
pub trait OfflineChecks {
    fn checks(&self) -> impl Future<Output = Vec<Check>> + Send;
}

/// `status`: the agent's status. Without a running agent, the offline checks and exit 1.
pub async fn status(
    run_dir: &Path,
    json: bool,
    offline: &impl OfflineChecks,
    console: &mut Console<'_>,
) -> ExitCode {
    match Client::new(run_dir).get::<LocalStatus>("/v1/status").await {
        Ok(status) if json => print_json(console, &status),
        Ok(status) => {
            let text = render::status(&status, console.style());
            console.print(&text);
            ExitCode::Ok
        }
        Err(ClientError::NotRunning(_)) => not_running(json, offline, console).await,
        Err(error) => fail(console, &error),
    }
}

/// `doctor`: exit 1 when a check fails or no agent runs.
pub async fn doctor(
    run_dir: &Path,
    json: bool,
    offline: &impl OfflineChecks,
    console: &mut Console<'_>,
) -> ExitCode {
    match Client::new(run_dir).get::<Doctor>("/v1/doctor").await {
        Ok(doctor) => {
            if json {
                print_json(console, &doctor);
            } else {
                let text = render::doctor(&doctor, console.style());
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

async fn not_running(json: bool, offline: &impl OfflineChecks, console: &mut Console<'_>) -> ExitCode {
    let checks = offline.checks().await;
    if json {
        print_json(console, &json!({ "agentRunning": false, "checks": checks }));
    } else {
        let checks = render::doctor(&Doctor { checks }, console.style());
        console.print(&format!("The agent is not running.\n\n{checks}"));
    }
    ExitCode::Failed
}

/// `locks`: the holders of update locks.
pub async fn locks(run_dir: &Path, json: bool, console: &mut Console<'_>) -> ExitCode {
    match Client::new(run_dir).get::<Locks>("/v1/locks").await {
        Ok(locks) if json => print_json(console, &locks),
        Ok(locks) => {
            let text = render::locks(&locks, console.style());
            console.print(&text);
            ExitCode::Ok
        }
        Err(error) => fail(console, &error),
    }
}

/// `healthcheck`: exit 0 and no output when the agent answers within 3 s.
pub async fn healthcheck(run_dir: &Path, console: &mut Console<'_>) -> ExitCode {
    match Client::new(run_dir).health().await {
        Ok(()) => ExitCode::Ok,
        Err(error) => fail(console, &error),
    }
}

/// `join`: passes a join token to the agent; `-` reads it from the first line of `stdin`.
pub async fn join(
    run_dir: &Path,
    token: &WireSecret,
    replace: bool,
    stdin: impl BufRead,
    console: &mut Console<'_>,
) -> ExitCode {
    let mut line = String::new();
    let text = if token.expose() == "-" {
        // Bounded, so that a wrong input does not fill the memory; a token is much shorter.
        if let Err(error) = stdin.take(4096).read_line(&mut line) {
            console.print_error(&format!("Cannot read the join token: {error}."));
            return ExitCode::Usage;
        }
        line.as_str()
    } else {
        token.expose()
    };
    // Checked here, so that a mistyped token is reported even without a running agent.
    let token = match Token::parse(TokenKind::Join, text) {
        Ok(token) => token,
        Err(error) => {
            let error = error.to_string();
            let end = if error.ends_with('?') { "" } else { "." };
            console.print_error(&format!("This is not a join token: {error}{end}"));
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
                "The agent enrols with join token {}. `baserunner status` shows the progress.\n",
                token.id()
            ));
            ExitCode::Ok
        }
        Err(error @ ClientError::NotRunning(_)) => {
            fail(console, &error);
            console.print_error(
                "Start it with the token in BASEOS_JOIN_TOKEN (or in its configuration file), or start it and \
                 run this again.",
            );
            ExitCode::Failed
        }
        Err(error) => fail(console, &error),
    }
}

pub fn version(console: &mut Console<'_>) -> ExitCode {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    console.print(&format!("baserunner {} {arch}-{os}\n", env!("CARGO_PKG_VERSION")));
    ExitCode::Ok
}

fn print_json(console: &mut Console<'_>, value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            console.print(&format!("{}\n", plain_json(&text)));
            ExitCode::Ok
        }
        Err(error) => {
            console.print_error(&format!("Cannot write JSON: {error}."));
            ExitCode::Internal
        }
    }
}

fn fail(console: &mut Console<'_>, error: &ClientError) -> ExitCode {
    console.print_error(&error.to_string());
    ExitCode::Failed
}

#[cfg(test)]
mod tests;
