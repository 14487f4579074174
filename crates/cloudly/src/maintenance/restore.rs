//! Restores a backup, once it is certain that it is whole and may take its place.

use super::error::MaintenanceError;
use super::file::{Counts, Header, Line, Reader};
use crate::auth::pepper::PepperCopy;
use crate::settings::Database;
use crate::storage::audit::AuditLine;
use crate::storage::integrity::Finding;
use crate::storage::restore::{self as storage, Changes};
use crate::storage::tables::{Cell, Table};
use baseos_interfaces::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Rows that are in memory at a time.
const ROWS: usize = 1000;

/// What is restored, where to, and what is accepted.
#[derive(Clone, Debug)]
pub struct Restore {
    pub from: PathBuf,
    /// Its engine may be another one than the backup's.
    pub database: Database,
    /// Where the server looks for its pepper.
    pub pepper_file: PathBuf,
    /// Whether the backup may take the place of what is in the database.
    pub replace: bool,
    /// Whether nodes follow the targets of the backup though they have seen later ones.
    pub apply_targets: bool,
    /// Whether a backup in which something is wrong is restored all the same.
    pub accept_findings: bool,
    /// Whether everything is tried and nothing changed.
    pub dry_run: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    pub taken_at: Timestamp,
    /// The engine it was taken from.
    pub engine: String,
    pub schema: i64,
    pub tables: Vec<RestoredTable>,
    pub findings: Vec<Finding>,
    /// The file with the database that was there before.
    pub kept: Option<PathBuf>,
    /// The pepper was written, too.
    pub wrote_pepper: bool,
}

/// How many rows of a table are in the backup, and were found in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoredTable {
    pub name: String,
    pub in_backup: u64,
    pub in_database: u64,
}

/// Restores a backup.
///
/// # Errors
/// When it is not restored; nothing was changed then.
pub async fn restore(restore: &Restore, now: Timestamp) -> Result<Restored, MaintenanceError> {
    let mut reader = Reader::open(&restore.from)?;
    check_schema(restore, &reader.header)?;
    let counts = reader.verify()?;
    let reader = reader.again()?;
    let mut target =
        storage::Restore::begin(&restore.database, reader.header.schema, restore.replace, now).await?;
    let filled = fill(&mut target, restore, reader, &counts, now).await;
    let (restored, pepper) = match filled {
        Ok(filled) => filled,
        Err(error) => {
            // What it may leave is a file that the next restore removes.
            if let Err(left) = target.abandon().await {
                tracing::warn!(error = %left, "what was restored so far could not be removed");
            }
            return Err(error);
        }
    };
    if restore.dry_run {
        target.abandon().await?;
        return Ok(restored);
    }
    // Before the database: it is not to be used without.
    if let Some(pepper) = pepper {
        pepper.write(&restore.pepper_file)?;
    }
    let kept = target.commit(now).await?;
    Ok(Restored { kept, ..restored })
}

fn check_schema(restore: &Restore, header: &Header) -> Result<(), MaintenanceError> {
    let (engine, from, until) = storage::known_schemas(&restore.database);
    if (from..=until).contains(&header.schema) {
        return Ok(());
    }
    Err(MaintenanceError::Schema {
        path: restore.from.clone(),
        found: header.schema,
        from,
        until,
        engine,
        program: header.program.clone(),
    })
}

/// Puts everything into the database but for the commit. Returns the pepper that has to be written.
async fn fill(
    target: &mut storage::Restore,
    restore: &Restore,
    mut reader: Reader,
    counts: &Counts,
    now: Timestamp,
) -> Result<(Restored, Option<PepperCopy>), MaintenanceError> {
    insert(target, &mut reader).await?;
    let tables = compare(target, counts).await?;
    let header = &reader.header;
    let pepper = pepper(target, header, &restore.pepper_file).await?;
    let data = json!({
        "takenAt": header.taken_at, "engine": header.engine, "program": header.program,
        "targetsApplied": restore.apply_targets,
    });
    let line = AuditLine::new("cloudly", "database.restored", None, data);
    let changes = Changes {
        now,
        apply_targets: restore.apply_targets,
    };
    target.finish(changes, &line).await?;
    let findings = target.findings().await?;
    if !findings.is_empty() && !restore.accept_findings {
        return Err(MaintenanceError::Findings(findings));
    }
    let restored = Restored {
        taken_at: header.taken_at,
        engine: header.engine.clone(),
        schema: header.schema,
        tables,
        findings,
        kept: None,
        wrote_pepper: pepper.is_some(),
    };
    Ok((restored, pepper))
}

async fn insert(target: &mut storage::Restore, reader: &mut Reader) -> Result<(), MaintenanceError> {
    let mut table: Option<Table> = None;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    loop {
        let line = reader.next()?;
        let is_row = matches!(line, Line::Row(_));
        if let Some(table) = &table
            && (!is_row || rows.len() >= ROWS)
        {
            target.insert(table, &rows).await?;
            rows.clear();
        }
        match line {
            Line::Row(row) => rows.push(row),
            Line::Table { table: name, columns } => {
                let known = target.tables.iter().find(|known| known.name == name);
                let ordered = known.and_then(|known| known.in_order(&columns));
                table = Some(ordered.ok_or(MaintenanceError::Table(name))?);
            }
            Line::End { .. } => return Ok(()),
        }
    }
}

/// Counts what is in the database now, table by table.
async fn compare(
    target: &mut storage::Restore,
    counts: &Counts,
) -> Result<Vec<RestoredTable>, MaintenanceError> {
    let mut compared = Vec::new();
    for table in target.tables.clone() {
        let Some(&expected) = counts.get(&table.name) else {
            return Err(MaintenanceError::Table(table.name));
        };
        let found = target.count(&table).await?;
        let table = table.name;
        if expected != found {
            return Err(MaintenanceError::Count {
                table,
                expected,
                found,
            });
        }
        compared.push(RestoredTable {
            name: table,
            in_backup: expected,
            in_database: found,
        });
    }
    Ok(compared)
}

/// The pepper that has to be written: the backup's, unless it is there already.
async fn pepper(
    target: &mut storage::Restore,
    header: &Header,
    path: &Path,
) -> Result<Option<PepperCopy>, MaintenanceError> {
    let Some(fingerprint) = target.pepper_fingerprint().await? else {
        return Ok(None);
    };
    let is_right = |pepper: &PepperCopy| pepper.fingerprint().as_ref() == Some(&fingerprint);
    if let Some(present) = PepperCopy::read(path)? {
        return if is_right(&present) {
            Ok(None)
        } else {
            Err(MaintenanceError::PepperInTheWay(path.to_owned()))
        };
    }
    let pepper = header.pepper.as_ref();
    let pepper = pepper.and_then(|pepper| PepperCopy::parse(pepper.expose()));
    let pepper = pepper.filter(is_right);
    pepper
        .map(Some)
        .ok_or_else(|| MaintenanceError::PepperNeeded(path.to_owned()))
}
