//! A database in a file.

use super::connection::{Connection, Error, OpenError, Result};
use sqlx::any::AnyConnectOptions;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const SQLITE_READONLY: i32 = 8;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// An exclusive lock on a file. It is released explicitly: closing the file is not enough while a child process that was
/// just forked has a copy of the descriptor.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // At worst it ends with the process.
        let _ = self.0.unlock();
    }
}

/// Of a file that is made if there is none.
pub(super) fn options(path: &Path) -> Result<AnyConnectOptions> {
    options_with(path, "rwc")
}

/// Of a file that is there.
pub(super) fn options_for_existing(path: &Path) -> Result<AnyConnectOptions> {
    options_with(path, "rw")
}

fn options_with(path: &Path, mode: &str) -> Result<AnyConnectOptions> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut url = "sqlite://".to_owned();
    for byte in absolute.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            url.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url.push_str("?mode=");
    url.push_str(mode);
    Ok(url.parse()?)
}

/// Sets up a connection. The log (WAL) belongs to the file; the rest is this connection's.
pub(super) async fn prepare(connection: &mut Connection) -> sqlx::Result<()> {
    for pragma in [
        "PRAGMA busy_timeout = 5000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
    ] {
        sqlx::raw_sql(pragma).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Locks the database for this process. Creates the file too.
pub(super) fn lock(path: &Path) -> std::result::Result<Lock, OpenError> {
    let lock = lock_only(path)?;
    create(path).map_err(|error| OpenError::Io {
        path: path.to_owned(),
        error,
    })?;
    Ok(lock)
}

/// Locks the database for this process, whether or not the file is there.
pub(super) fn lock_only(path: &Path) -> std::result::Result<Lock, OpenError> {
    if let Some(directory) = missing_directory(path) {
        return Err(OpenError::NoDirectory {
            path: path.to_owned(),
            directory,
        });
    }
    let failed = |error| OpenError::Io {
        path: path.to_owned(),
        error,
    };
    let file = create(&named(path, ".lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Opens a file with a mode that keeps other users from reading it, if it is new: releases may hold secrets of their
/// services. SQLite gives its other files the same mode.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The file beside it whose name ends like this.
pub(super) fn named(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The directory for a file, if there is none. Absolute, so that it is clear where it is missing.
fn missing_directory(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty())?;
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    (!directory.exists()).then_some(absolute)
}

/// Tells the causes apart that an operator can mend, by SQLite's primary result code.
pub(super) fn open_error(path: &Path, error: OpenError) -> OpenError {
    let OpenError::Database { error, database } = error else {
        return error;
    };
    let code = match &error {
        Error::Sql(error) => error.as_database_error().and_then(|error| error.code()),
        _ => None,
    };
    let code = code.and_then(|code| code.parse::<i32>().ok());
    let io = |kind: io::ErrorKind| OpenError::Io {
        path: path.to_owned(),
        error: kind.into(),
    };
    match code.map(|code| code & 0xff) {
        Some(SQLITE_NOTADB) => OpenError::NotOurs(database),
        Some(SQLITE_READONLY) => io(io::ErrorKind::ReadOnlyFilesystem),
        Some(SQLITE_CANTOPEN) => io(if path.is_dir() {
            io::ErrorKind::IsADirectory
        } else {
            io::ErrorKind::PermissionDenied
        }),
        _ => OpenError::Database { database, error },
    }
}
