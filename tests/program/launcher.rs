//! Something done in the agent's place before it starts.

use super::options;
use baseos_simulator::harness::StageOptions;

/// A program in the agent's place that first does what a test left for it, and then is the agent.
pub struct Launcher(tempfile::TempDir);

impl Launcher {
    /// `always` runs before each start; it is the shell's, and may end in `exec`.
    pub fn new(always: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::Builder::new()
            .prefix("baseos-launcher-")
            .tempdir()
            .unwrap();
        // Another build may put another agent in its place; this one stays what it is.
        let agent = dir.path().join("agent");
        std::fs::copy(env!("CARGO_BIN_EXE_baserunner"), &agent).unwrap();
        let here = dir.path().display();
        let script = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nset -e\nAGENT={here}/agent\n\
             if [ -e {here}/once ]; then mv {here}/once {here}/done; . {here}/done; fi\n{always}\nexec $AGENT\n"
        );
        let program = dir.path().join("baserunner");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// Shell for the next start alone.
    pub fn once(&self, shell: &str) {
        std::fs::write(self.0.path().join("once.new"), shell).unwrap();
        std::fs::rename(self.0.path().join("once.new"), self.0.path().join("once")).unwrap();
    }

    /// A stage with this in the agent's place.
    pub fn options(&self) -> StageOptions {
        let mut options = options();
        options.programs.baserunner = self.0.path().join("baserunner");
        options
    }
}
