//! `cloudly db …`.

use super::arguments::{Global, PepperFile};
use super::output::{self, Outcome};
use clap::Subcommand;
use cloudly_baseos::{Finding, maintenance};

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Look for what is wrong in the database, while the server goes on; exits with 1 if something is
    Check {
        #[command(flatten)]
        pepper: PepperFile,
    },
}

pub(super) async fn run(command: DbCommand, global: &Global) -> Outcome {
    let DbCommand::Check { pepper } = command;
    let database = global.database()?;
    let findings = maintenance::check(&database, &pepper.path(global)?).await?;
    if global.json {
        output::json(&findings)?;
    } else {
        print_findings(&findings)?;
    }
    match findings.len() {
        0 if global.json => Ok(()),
        0 => output::line(&format!("{database}: nothing is wrong")),
        1 => Err(format!("{database}: one thing is wrong").into()),
        count => Err(format!("{database}: {count} things are wrong").into()),
    }
}

/// What is wrong, each with what to do about it.
pub(super) fn print_findings(findings: &[Finding]) -> Outcome {
    findings.iter().try_for_each(|finding| {
        output::line(&format!(
            "{}: {} (e.g. {})",
            finding.what, finding.count, finding.example
        ))?;
        output::line(&format!("  {}", finding.remedy))
    })
}
