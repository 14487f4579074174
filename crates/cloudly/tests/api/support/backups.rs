//! Backups of servers in this process.

use super::cloudly::Cloudly;
use cloudly_baseos::Database;
use cloudly_baseos::maintenance::{self, Backup, Restore};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Cloudly {
    /// Takes a backup, while it runs or not.
    pub(crate) async fn back_up(&self, name: &str) -> PathBuf {
        let backup = backup_of(self, name);
        maintenance::take(&backup, self.clock.now()).await.unwrap();
        backup.to
    }

    /// Stops, puts a backup in the place of the database, and starts again.
    pub(crate) async fn restore(&mut self, from: &Path, adjust: impl FnOnce(&mut Restore)) {
        self.stop().await;
        let mut restore = restore_into(from, &self.database_url, self.dir.path());
        restore.replace = true;
        adjust(&mut restore);
        maintenance::restore(&restore, self.clock.now()).await.unwrap();
        self.start_again().await;
    }
}

pub(crate) fn backup_of(cloudly: &Cloudly, name: &str) -> Backup {
    Backup {
        database: Database::parse(&cloudly.database_url).unwrap(),
        pepper_file: Some(cloudly.dir.path().join("token-pepper")),
        to: cloudly.dir.path().join(name),
        overwrite: false,
    }
}

/// With the pepper in `dir`.
pub(crate) fn restore_into(from: &Path, database_url: &str, dir: &Path) -> Restore {
    Restore {
        from: from.to_owned(),
        database: Database::parse(database_url).unwrap(),
        pepper_file: dir.join("token-pepper"),
        replace: false,
        apply_targets: false,
        accept_findings: false,
        dry_run: false,
    }
}

/// The rows of each table in a backup, each by the names of its columns, in an order of their own.
pub(crate) fn rows(backup: &Path) -> BTreeMap<String, Vec<BTreeMap<String, Value>>> {
    let text = std::fs::read_to_string(backup).unwrap();
    let mut tables = BTreeMap::<_, Vec<_>>::new();
    let (mut table, mut columns) = (String::new(), Vec::<String>::new());
    for line in text.lines().skip(1) {
        match serde_json::from_str(line).unwrap() {
            Value::Array(row) => {
                let row = columns.iter().cloned().zip(row).collect();
                tables.entry(table.clone()).or_default().push(row);
            }
            line => {
                if let Some(name) = line["table"].as_str() {
                    table = name.to_owned();
                    columns = serde_json::from_value(line["columns"].clone()).unwrap();
                    tables.entry(table.clone()).or_default();
                }
            }
        }
    }
    for rows in tables.values_mut() {
        rows.sort_by_key(|row| format!("{row:?}"));
    }
    tables
}

pub(crate) fn sum(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A backup's text with another last line, which has the right checksum.
pub(crate) fn sealed(body: &str, rows: &Value) -> String {
    let sum = sum(body.as_bytes());
    format!("{body}{}\n", serde_json::json!({ "rows": rows, "sha256": sum }))
}
