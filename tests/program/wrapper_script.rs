//! A shell script in the agent's place.

use crate::fixture::options;
use baseos_interfaces::rules::GUARD_PROGRAM;
use baseos_simulator::harness::TestbedOptions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Runs what a test wants before the agent, and then the agent. The guard is not touched by what is for the next start.
pub(crate) struct WrapperScript(tempfile::TempDir);

impl WrapperScript {
    pub(crate) fn new() -> Self {
        Self::with_every_start("")
    }

    /// Runs this shell code before each start. It may end in an `exec` of `$AGENT`.
    pub(crate) fn with_every_start(shell: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("baseos-wrapper-")
            .tempdir()
            .unwrap();
        // Copies: a build at the same time may replace the programs.
        for (program, copy) in [
            (env!("CARGO_BIN_EXE_baserunner"), "agent"),
            (env!("CARGO_BIN_EXE_baserunner-guard"), GUARD_PROGRAM),
        ] {
            std::fs::copy(program, dir.path().join(copy)).unwrap();
        }
        let here = dir.path().display();
        let script = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nset -e\nAGENT={here}/agent\n\
             if [ $# -eq 0 ] && [ -e {here}/next ]; then mv {here}/next {here}/done; . {here}/done; fi\n{shell}\nexec $AGENT \"$@\"\n"
        );
        let program = dir.path().join("baserunner");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// Runs this shell code before the next start only.
    pub(crate) fn at_next_start(&self, shell: &str) {
        std::fs::write(self.0.path().join("next.new"), shell).unwrap();
        std::fs::rename(self.0.path().join("next.new"), self.0.path().join("next")).unwrap();
    }

    /// The script, which runs instead of the agent.
    pub(crate) fn program(&self) -> PathBuf {
        self.0.path().join("baserunner")
    }

    /// Options with the script in the agent's place.
    pub(crate) fn options(&self) -> TestbedOptions {
        let mut options = options();
        options.programs.baserunner = self.program();
        options
    }
}
