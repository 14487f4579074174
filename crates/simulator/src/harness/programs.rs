//! The programs under test.

use crate::harness::error::{Error, Result};
use baseos_interfaces::rules::GUARD_PROGRAM;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Programs {
    /// Its guard's program lies beside it, as in its image.
    pub baserunner: PathBuf,
    pub cloudly: PathBuf,
}

impl Programs {
    /// The agent at this path (`env!("CARGO_BIN_EXE_baserunner")` in a test), and its guard and Cloudly in the same
    /// directory.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn beside(baserunner: impl AsRef<Path>) -> Result<Self> {
        let baserunner = std::path::absolute(baserunner)?;
        let cloudly = baserunner.with_file_name("cloudly");
        let guard = baserunner.with_file_name(GUARD_PROGRAM);
        for program in [&baserunner, &guard, &cloudly] {
            if !program.is_file() {
                let hint = "cargo build -p baserunner -p cloudly-baseos --bins";
                return Err(Error::new(format!(
                    "{} is missing; build it: {hint}",
                    program.display()
                )));
            }
        }
        Ok(Self { baserunner, cloudly })
    }
}
