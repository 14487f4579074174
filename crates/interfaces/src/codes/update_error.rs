//! Why an update failed: `update.error.code`.

super::table::wire_names! {
    /// The code of an update's error (contract §4).
    pub enum ErrorCode {
        /// The release breaks a rule of [`crate::rules`], a rule of this device, or the Supervisor answered 4xx to it.
        ReleaseRefused = "releaseRefused",
        /// It was not in place within [`crate::desired::Policy::apply_timeout_seconds`].
        ApplyTimeout = "applyTimeout",
        /// It was in place and did not stay healthy for [`crate::desired::Policy::health_seconds`].
        HealthCheckFailed = "healthCheckFailed",
        /// The previous release could not be put back, or is not healthy either.
        RollbackFailed = "rollbackFailed",
        /// The operator withdrew it while it was being applied.
        Withdrawn = "withdrawn",
        /// The Supervisor has another target than the one it was handed: somebody else gave it one, or the release did not
        /// survive a start of the agent.
        Displaced = "displaced",
    }
}
