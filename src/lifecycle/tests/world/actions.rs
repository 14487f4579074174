//! What may happen.

use crate::lifecycle::effect::Port;

/// Something that happens to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// The next deadline comes.
    Elapse,
    /// Time passes without a deadline, seconds.
    Pass(u32),
    /// Whoever was asked through a port answers.
    Answer(Port, Reply),
    /// The poller sees this.
    Observe(View),
    /// Somebody else hands the Supervisor this release.
    Post(u8),
    /// From now on an inspection shows this (never `Silent`), and no look before it does.
    Turn(View),
    /// The Supervisor loses its database, and with it its target.
    LoseTarget,
    /// The Supervisor's log says that the application's service ended.
    Exit,
    /// The Supervisor's log says this about its target.
    Log(Line),
    /// An operator desires a release (0: none) under a policy; it comes with the next answer of Cloudly.
    Desire(u8, PolicyKind),
    /// An operator sends a command; it comes with the next answer of Cloudly.
    Command(CommandKind),
    /// Somebody uses the local API.
    Request(LocalRequest),
    /// The host poller sees foreign locks, or too little space.
    Host { locked: bool, full: bool },
    /// The disk lets the state be written, or not.
    Disk { works: bool },
    /// Somebody offers a join token over the local API (token 0: a malformed one).
    Offer { token: u8, replace: bool },
    /// Somebody sets the device's wall clock, days from now.
    SetClock { days: i16 },
    /// The agent is killed and starts again; perhaps the device reboots.
    Restart { reboot: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// As it should be.
    Good,
    /// Refused for good (401, 400).
    Refused,
    /// In the way: 423 from the Supervisor, 410 from Cloudly.
    Gone,
    /// Not now.
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum View {
    /// What the modelled Supervisor says, which has finished whatever it was told.
    Actual,
    /// It is still at work on what it was told.
    Working,
    /// A step before any container was changed fails, and it backs off; the earlier containers run.
    Stuck,
    /// It is applied, but a service does not run.
    Unhealthy,
    /// It is applied, but a service has no container.
    Absent,
    /// It is fetching what it was told; the earlier containers run.
    Fetching(u8),
    /// It does not answer.
    Silent,
    /// It says that it is applied, but it took the old images for the new ones and kept the containers.
    Unreplaced,
    /// Somebody put another release there.
    Foreign,
}

/// A line of the Supervisor's log about Onebox of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Line {
    Opened,
    Lost,
    PullBegan,
    PullDone,
    /// No registry has the image.
    Missing,
    /// The registry does not answer.
    Away,
    DiskFull,
    /// Onebox holds a lock; tried again in 8 s.
    Locked,
    Stopping,
    Starting,
    Started,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PolicyKind {
    Plain,
    ReportOnly,
    NeedsApproval,
    NeedsRollback,
    /// The release gives the agent a setting that would stop it.
    BreaksAgent,
    NoSlot,
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CommandKind {
    Check,
    RestartService,
    StopService,
    Reboot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LocalRequest {
    Status,
    Check,
    Approve,
    Defer,
    Lock,
    Unlock,
    Doctor,
}
