//! What can be wrong with a node: `health.issues[].code`.

super::table::wire_names! {
    /// The code of a health issue (contract §4).
    pub enum IssueCode {
        /// The Supervisor is unmanaged: its API is open to the LAN without a key (observed: u08-lan).
        SupervisorApiExposed = "supervisorApiExposed",
        /// A service of the running release has no running container. The Supervisor does not heal (observed).
        ServiceStopped = "serviceStopped",
        /// A service of the running release exits again and again.
        ServiceCrashLoop = "serviceCrashLoop",
        /// The Supervisor has lost its target: containers run, but no release does.
        TargetLost = "targetLost",
        /// The Supervisor runs a release that this agent did not hand over.
        ForeignTarget = "foreignTarget",
        /// The device's clock is off by more than [`crate::limits::CLOCK_SKEW_SECONDS`]. Cloudly reports it too.
        ClockSkew = "clockSkew",
        /// The device's clock cannot be right: it says a time before the agent was built, or one far from Cloudly's.
        ClockImplausible = "clockImplausible",
        /// The agent cannot save its state, so it begins nothing.
        StateNotWritable = "stateNotWritable",
        /// The agent could not use its stored checkpoint when it started; `detail` says why and what was kept.
        CheckpointUnusable = "checkpointUnusable",
        /// A lease lives, but balena's lock files are not held for it.
        LockFilesNotHeld = "lockFilesNotHeld",
        /// The directory of balena's lock files cannot be written: until the next update, say, because the device was
        /// started anew (observed).
        LockDirNotWritable = "lockDirNotWritable",
        /// Settings of the agent are not right and count as not set; `detail` names them.
        SettingsInvalid = "settingsInvalid",
        /// Less room than the configured reserve.
        DiskLow = "diskLow",
        /// Cloudly sees two agents with this node's identity.
        CloneSuspected = "cloneSuspected",
    }
}
