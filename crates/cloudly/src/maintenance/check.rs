//! Looks for what is wrong in a database, beside the server that uses it.

use super::error::MaintenanceError;
use crate::auth::pepper::PepperCopy;
use crate::settings::Database;
use crate::storage::integrity::Finding;
use crate::storage::snapshot::Snapshot;
use std::path::Path;

const PEPPER: &str = "put the right one there from the backup, or name its file with --token-pepper-file: without it no token is accepted";

/// Everything that is wrong, and what to do about it.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(database: &Database, pepper_file: &Path) -> Result<Vec<Finding>, MaintenanceError> {
    let mut snapshot = Snapshot::open_present(database).await?;
    let mut findings = snapshot.findings().await?;
    if let Some(fingerprint) = snapshot.pepper_fingerprint().await? {
        let found = PepperCopy::read(pepper_file)?;
        let found = found.and_then(|pepper| pepper.fingerprint());
        if found != Some(fingerprint) {
            findings.push(Finding {
                what: match found {
                    Some(_) => "peppers of another database".to_owned(),
                    None => "peppers that are missing".to_owned(),
                },
                count: 1,
                example: pepper_file.display().to_string(),
                remedy: PEPPER,
            });
        }
    }
    Ok(findings)
}
