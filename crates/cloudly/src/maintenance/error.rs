//! Why a database is not backed up, restored or checked.

use crate::auth::key_file::KeyError;
use crate::storage::database::{Error, OpenError};
use crate::storage::integrity::Finding;
use std::io;
use std::path::{Path, PathBuf};

/// Each is a sentence for the operator; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the database: {0}")]
    Database(#[from] Error),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} exists already: name another file, or say --overwrite", .0.display())]
    Exists(PathBuf),
    #[error("another backup to {} is under way", .0.display())]
    UnderWay(PathBuf),
    #[error("{} is not a backup of Cloudly", .0.display())]
    NotABackup(PathBuf),
    #[error("{} is damaged ({what}): take another backup", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "cloudly {program} made {}, in a form that this one ({}) does not know: restore it with cloudly {program} or newer",
        path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer { path: PathBuf, program: String },
    #[error(
        "{} has schema {found}, and this cloudly knows {from} to {until} of {engine}: restore it with cloudly {program}, which \
         made it, or newer",
        path.display()
    )]
    Schema {
        path: PathBuf,
        found: i64,
        from: i64,
        until: i64,
        engine: &'static str,
        program: String,
    },
    #[error(
        "there is no pepper at {}, and without it no token in the backup would be accepted: name its file with \
         --token-pepper-file, or keep it elsewhere and say --without-pepper",
        .0.display()
    )]
    NoPepper(PathBuf),
    #[error("the pepper in {} is not the one this database was made with: name the right file with --token-pepper-file", .0.display())]
    OtherPepper(PathBuf),
    #[error(
        "the backup is without its pepper, and there is none at {}: put it there first, or name its file with \
         --token-pepper-file",
        .0.display()
    )]
    PepperNeeded(PathBuf),
    #[error(
        "the pepper in {} is another one than the backup's, and is not overwritten: move it away, or name another file with \
         --token-pepper-file",
        .0.display()
    )]
    PepperInTheWay(PathBuf),
    #[error(
        "the table {0} is not the same in the backup and in this schema: the backup was made by another program"
    )]
    Table(String),
    #[error("of {table} the backup has {expected} rows, and {found} are in the database")]
    Count {
        table: String,
        expected: u64,
        found: u64,
    },
    #[error("{}; restore an older backup, or say --accept-findings to restore this one all the same", in_words(.0))]
    Findings(Vec<Finding>),
}

impl MaintenanceError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

fn in_words(findings: &[Finding]) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| format!("{} ({}, e.g. {})", finding.what, finding.count, finding.example))
        .collect();
    format!("the backup has {}", findings.join("; "))
}
