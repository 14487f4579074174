//! What may happen.

use baserunner::lifecycle::effect::Port;

/// Something that happens to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The next deadline comes.
    Elapse,
    /// Time passes without a deadline, seconds.
    Pass(u32),
    /// Whoever was asked through a port answers.
    Answer(Port, Reply),
    /// The poller sees this.
    See(Sight),
    /// The Supervisor's log says that the application's service ended.
    Exit,
    /// An operator desires a release (0: none) under a policy; it comes with the next answer of Cloudly.
    Desire(u8, Rule),
    /// An operator sends a command; it comes with the next answer of Cloudly.
    Order(Errand),
    /// Somebody uses the local API.
    Ask(Wish),
    /// The host poller sees foreign locks, or too little space.
    Host { locked: bool, full: bool },
    /// The disk lets the state be written, or not.
    Disk { works: bool },
    /// Somebody offers a join token.
    Offer { token: u8, replace: bool },
    /// The agent is killed and starts again; perhaps the device reboots.
    Restart { reboot: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
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
pub enum Sight {
    /// What the modelled Supervisor says, which has finished whatever it was told.
    Truth,
    /// It is still at work on what it was told.
    Working,
    /// It is applied, but a service does not run.
    Ill,
    /// It does not answer.
    Silent,
    /// Somebody put another release there.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    Plain,
    ReportOnly,
    NeedsApproval,
    NoSlot,
    Forced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Errand {
    Check,
    RestartService,
    Reboot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wish {
    Status,
    Check,
    Approve,
    Defer,
    Lock,
    Unlock,
    Doctor,
}
