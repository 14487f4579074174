//! Files with a secret: the pepper and the admin token.

use crate::random::NoRandomness;
use baseos_interfaces::token::TokenError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// More than any secret is long: whatever else is in the file is not read whole.
const MAX_BYTES: u64 = 4096;
/// What the mode of a secret may not permit. Its group may read it: an orchestrator hands secrets out like that.
#[cfg(unix)]
const OTHERS: u32 = 0o037;

/// Why a secret's file cannot be used. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot use the file {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("others than its owner may use the secret in {path} (mode {mode:03o}): `chmod 600 {path}`", path = path.display())]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is not a token pepper (64 hex digits); restore it from the backup of this database", .0.display())]
    Pepper(PathBuf),
    #[error("the token pepper {} is missing, and without it no token of this database is accepted: restore it from the backup", .0.display())]
    Lost(PathBuf),
    #[error("{} holds no admin token: {error}; {}", path.display(), .file.remedy())]
    Admin {
        path: PathBuf,
        error: TokenError,
        file: AdminFile,
    },
    #[error("there is no admin token at {}: {}", .0.display(), AdminFile::Given.remedy())]
    NoAdmin(PathBuf),
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Whose file is read for the admin token. Only the server's own may be given up: another one may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminFile {
    /// The server's, where it makes one if there is none.
    Own,
    /// One that somebody named, or that a client looks for.
    Given,
}

impl AdminFile {
    const fn remedy(self) -> &'static str {
        match self {
            Self::Own => "remove the file to get a new one",
            Self::Given => {
                "give the file that `cloudly serve` made, normally `admin-token` beside the database, with --token-file \
                 (CLOUDLY_ADMIN_TOKEN_FILE), or the database with --database-url (CLOUDLY_DATABASE_URL)"
            }
        }
    }
}

/// `None`: the file does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, KeyError> {
    let failed = |error| KeyError::Io {
        path: path.to_owned(),
        error,
    };
    let file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    check_mode(&file, path)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Refuses a file that others may use.
pub(crate) fn check_mode(file: &File, path: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    {
        let metadata = file.metadata().map_err(|error| KeyError::Io {
            path: path.to_owned(),
            error,
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
    }
    Ok(())
}

/// Writes a secret that did not exist before. Atomic: after a crash, half a pepper would look like a lost one.
pub(super) fn create(path: &Path, text: &str) -> Result<(), KeyError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&name).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&name, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    });
    written.map_err(|error| KeyError::Io {
        path: path.to_owned(),
        error,
    })
}
