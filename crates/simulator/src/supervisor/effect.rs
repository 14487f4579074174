//! What the model wants done outside.

use crate::supervisor::api::Answer;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start the process of a container whose image is [`super::Behaviour::Process`].
    Start(StartProcess),
    /// SIGTERM, then SIGKILL after the grace time. [`super::Supervisor::process_exited`] reports the end.
    Stop { container: String, grace: Duration },
    /// SIGKILL.
    Kill { container: String },
    /// Answer a call that was answered with [`super::Reply::Later`].
    Answer { ticket: u64, answer: Answer },
    /// Make an empty volume; its name is `<app id>_<name>`.
    MakeVolume { name: String },
    /// Remove a volume and its data.
    WipeVolume { name: String },
    /// A line of the Supervisor's system log.
    SystemLine { line: String, is_error: bool },
    /// The API stops listening.
    Down,
    /// The API listens.
    Up,
    /// The device begins to boot: processes are gone, tmpfs is empty.
    Booted,
}

/// A process to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartProcess {
    pub container: String,
    /// To be given back with the end of the process.
    pub incarnation: u64,
    pub app_id: u64,
    pub service: String,
    pub image: String,
    /// In place of the image's own: the program's arguments.
    pub command: Vec<String>,
    /// As in the compose file: `uid` or `uid:gid`; `None`: the image's own.
    pub user: Option<String>,
    /// As in the compose file: `name:/path`.
    pub volumes: Vec<String>,
    pub environment: Vec<(String, String)>,
}
