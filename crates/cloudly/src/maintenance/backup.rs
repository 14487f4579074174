//! Takes a backup while the server goes on.

use super::error::MaintenanceError;
use super::file::{Header, Writer, check_free};
use crate::auth::pepper::PepperCopy;
use crate::settings::Database;
use crate::storage::snapshot::Snapshot;
use baseos_interfaces::Timestamp;
use baseos_interfaces::token::WireSecret;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is backed up, and where to.
#[derive(Clone, Debug)]
pub struct Backup {
    pub database: Database,
    /// The file of its pepper, which becomes a part of the backup; `None`: it is kept elsewhere.
    pub pepper_file: Option<PathBuf>,
    pub to: PathBuf,
    /// Whether it may take the place of a file.
    pub overwrite: bool,
}

/// What is in a backup.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenBackup {
    pub taken_at: Timestamp,
    pub schema: i64,
    pub bytes: u64,
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    pub with_pepper: bool,
}

/// Writes everything as it is at one moment.
///
/// # Errors
/// When it is not written; there is no file then, or the one that was there before.
pub async fn take(backup: &Backup, now: Timestamp) -> Result<TakenBackup, MaintenanceError> {
    check_free(&backup.to, backup.overwrite)?;
    let mut snapshot = Snapshot::open(&backup.database).await?;
    let pepper = match &backup.pepper_file {
        Some(path) => pepper(path, snapshot.pepper_fingerprint().await?.as_deref())?,
        None => None,
    };
    let with_pepper = pepper.is_some();
    let header = Header::new(snapshot.engine(), snapshot.schema, now, pepper);
    let mut writer = Writer::create(&backup.to, &header)?;
    for table in snapshot.tables.clone() {
        let columns = table.columns.iter().map(|column| column.name.clone());
        writer.table(&table.name, columns.collect())?;
        snapshot.rows(&table, |row| writer.row(row)).await?;
    }
    let (bytes, rows) = writer.finish(backup.overwrite)?;
    Ok(TakenBackup {
        taken_at: now,
        schema: header.schema,
        bytes,
        rows,
        with_pepper,
    })
}

/// The pepper with this fingerprint. A database that no server has used yet has none.
fn pepper(path: &Path, fingerprint: Option<&str>) -> Result<Option<WireSecret>, MaintenanceError> {
    let Some(fingerprint) = fingerprint else {
        return Ok(None);
    };
    let copy = PepperCopy::read(path)?.ok_or_else(|| MaintenanceError::NoPepper(path.to_owned()))?;
    if copy.fingerprint().as_deref() != Some(fingerprint) {
        return Err(MaintenanceError::OtherPepper(path.to_owned()));
    }
    Ok(Some(copy.wire().clone()))
}
