//! Why an update failed: `update.error.code`.

super::table::wire_names! {
    /// The code of an update's error (contract §4).
    pub enum ErrorCode {
        /// The release breaks a rule of [`crate::rules`], a rule of this device, or the Supervisor answered 4xx to it.
        ReleaseRefused = "releaseRefused",
        /// Nothing got on for [`crate::desired::Policy::apply_timeout_seconds`].
        ApplyTimeout = "applyTimeout",
        /// The Supervisor has changed containers for it, and one of them cannot be started.
        StartFailed = "startFailed",
        /// A registry answered that it has no such image. The release is not bad for it: it goes on when the image is there.
        ImageNotFound = "imageNotFound",
        /// It was in place and did not stay healthy for [`crate::desired::Policy::health_seconds`].
        HealthCheckFailed = "healthCheckFailed",
        /// The Supervisor says that it is in place, but a service runs another image than the release names.
        ImageNotReplaced = "imageNotReplaced",
        /// The previous release could not be put back, or is not healthy either.
        RollbackFailed = "rollbackFailed",
        /// A new agent gave no sign of life, or Cloudly accepted no heartbeat of it, and the guard put the proven release
        /// back.
        AgentNotProven = "agentNotProven",
        /// The operator withdrew it while it was being applied.
        Withdrawn = "withdrawn",
        /// The Supervisor has another target than the one it was handed: somebody else gave it one, or the release did not
        /// survive a start of the agent.
        Displaced = "displaced",
    }
}
