//! The log filter.

use super::error::LogError;
use std::fmt;
use std::str::FromStr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// A default level, and levels for single targets: `info` or `info,baserunner=debug,hyper=off`. Without a default
/// level only the named targets are logged. Empty is `info`.
#[derive(Clone, Debug)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    pub(super) fn into_targets(self) -> Targets {
        self.targets
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl FromStr for LogFilter {
    type Err = LogError;

    /// Stricter than `Targets::from_str`, which takes a mistyped level for a target to log at every level.
    fn from_str(text: &str) -> Result<Self, LogError> {
        // An empty environment variable counts as unset.
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut targets = Targets::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part),
            };
            let in_target = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
            if target.is_some_and(|target| target.is_empty() || !target.chars().all(in_target)) {
                return Err(LogError::Filter(part.to_owned()));
            }
            let level = level_of(level).ok_or_else(|| LogError::Filter(part.to_owned()))?;
            targets = match target {
                Some(target) => targets.with_target(target, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

fn level_of(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}
