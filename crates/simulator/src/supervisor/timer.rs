//! What can be due later.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Plan,
    PullDone(String),
    StartDone,
    Commit,
    Finish,
    Applied,
    RestartStart,
    RestartDone,
    Exit { container: String, incarnation: u64 },
    EngineStart { container: String, incarnation: u64 },
    Stopped { container: String },
    PowerOff,
    Boot,
    SupervisorUp,
}

impl Timer {
    /// Whether it ends with the Supervisor's process; the others belong to the engine and the device.
    pub(crate) fn ends_with_the_supervisor(&self) -> bool {
        matches!(
            self,
            Self::Plan
                | Self::PullDone(_)
                | Self::StartDone
                | Self::Commit
                | Self::Finish
                | Self::Applied
                | Self::RestartStart
                | Self::RestartDone
        )
    }
}
