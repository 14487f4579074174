//! The programs under test.

use crate::harness::error::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Programs {
    pub baserunner: PathBuf,
    pub cloudly: PathBuf,
}

impl Programs {
    /// The agent at this path (`env!("CARGO_BIN_EXE_baserunner")` in a test), and Cloudly in the same directory.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn beside(baserunner: impl AsRef<Path>) -> Result<Self> {
        let baserunner = std::path::absolute(baserunner)?;
        let cloudly = baserunner.with_file_name("cloudly");
        for program in [&baserunner, &cloudly] {
            if !program.is_file() {
                let hint = "cargo build -p baserunner --bin baserunner -p cloudly-baseos --bin cloudly";
                return Err(Error::new(format!(
                    "{} is missing; build it: {hint}",
                    program.display()
                )));
            }
        }
        Ok(Self { baserunner, cloudly })
    }
}
