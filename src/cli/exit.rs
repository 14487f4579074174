//! Exit codes.

/// How a command ended. Those above 63 are of sysexits' meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All is well; after `run`: the agent was asked to stop and did.
    Ok = 0,
    /// A check failed, the agent is not healthy or not running, or it refused.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The agent cannot go on (`EX_SOFTWARE`): its supervisor is to start it anew.
    Internal = 70,
    /// Another agent runs with this state or this socket (`EX_TEMPFAIL`).
    AlreadyRunning = 75,
    /// The configuration is wrong (`EX_CONFIG`): starting anew does not help.
    Configuration = 78,
}

/// The part of `--help` that explains them.
pub(super) const HELP: &str = "\
Exit codes:
   0  all is well
   1  a check failed, the agent is not healthy or not running, or it refused
   2  the command line is wrong
  70  the agent cannot go on; it is to be started anew
  75  another agent runs already
  78  the configuration is wrong";

impl ExitCode {
    /// All of them.
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
