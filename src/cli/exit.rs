//! The exit codes.

/// How a command ended. Codes above 63 have the meaning of sysexits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// After `run`: the agent stopped on request.
    Ok = 0,
    /// A check failed, the agent is not healthy or not running, or it refused.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The agent cannot go on (`EX_SOFTWARE`) and is to be restarted.
    Internal = 70,
    /// Another agent uses this state directory or this socket (`EX_TEMPFAIL`).
    AlreadyRunning = 75,
    /// The configuration is invalid (`EX_CONFIG`); a restart does not help.
    Configuration = 78,
}

/// Part of `--help`.
pub(super) const HELP: &str = "\
Further settings are variables (BASEOS_…) and members of the configuration file: `baserunner config` prints them with
their values and defaults. A duration has a unit: 30s, 5m, 2h.

Exit codes:
   0  success
   1  a check failed, the agent is not healthy or not running, or it refused
   2  the command line is invalid
  70  the agent cannot go on and is to be restarted
  75  another agent is running already
  78  the configuration is invalid";

impl ExitCode {
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Internal,
        Self::AlreadyRunning,
        Self::Configuration,
    ];
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
