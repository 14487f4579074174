//! What the guard of the agent's own update reports in its file.

use crate::durable_file;
use crate::lifecycle::facts::GuardFacts;
use crate::lifecycle::guard::files::{REPORT, Report};
use std::io::ErrorKind;
use std::path::Path;

/// `None`: there is no report, or none that can be read.
pub fn guard_report(state_dir: &Path) -> Option<GuardFacts> {
    let path = state_dir.join(REPORT);
    let bytes = match durable_file::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the guard's report cannot be read");
            return None;
        }
    };
    match serde_json::from_slice::<Report>(&bytes) {
        Ok(report) => Some(GuardFacts {
            boot_id: report.boot_id,
            holds: report.held.map(|held| held.commit),
            watches: report.watched.map(|watched| watched.trial.commit),
            restored: report.restored,
        }),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the guard's report does not read and is not used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_its_secrets_and_no_damaged_one_is_taken_in() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(guard_report(dir.path()), None);
        let report = r#"{"bootId":"b1","held":{"commit":"a1a1a1a1","target":{"secret":1}},"later":true}"#;
        std::fs::write(dir.path().join(REPORT), report).unwrap();
        let facts = guard_report(dir.path()).unwrap();
        assert_eq!(facts.holds.as_deref(), Some("a1a1a1a1"));
        assert!(!format!("{facts:?}").contains("secret"));
        std::fs::write(dir.path().join(REPORT), "{").unwrap();
        assert_eq!(guard_report(dir.path()), None);
    }

    #[test]
    fn a_pipe_or_a_huge_file_in_its_place_is_no_report_and_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(REPORT);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert_eq!(guard_report(dir.path()), None);
        std::fs::remove_file(&path).unwrap();
        let huge = std::fs::File::create(&path).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert_eq!(guard_report(dir.path()), None);
    }
}
