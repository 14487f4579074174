//! Errors of the log's settings.

use tracing::subscriber::SetGlobalDefaultError;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "`{0}` is no log filter: write a level (off, error, warn, info, debug, trace) or target=level, separated \
         by commas, e.g. `info` or `info,baserunner=debug,hyper=off`"
    )]
    Filter(String),
    #[error("`{0}` is no log format: write `text` or `json`")]
    Format(String),
    /// A defect in the program.
    #[error("the log is set up already")]
    AlreadySet(#[from] SetGlobalDefaultError),
}
