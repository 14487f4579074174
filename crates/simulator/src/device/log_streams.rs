//! The clients of `GET /v2/local/logs`.

use crate::clock::unix_millis;
use crate::json::{Json, object};
use crate::sync::lock;
use hyper::body::Bytes;
use std::sync::Mutex;
use tokio::sync::mpsc;

/// How many clients have attached to the log. The real Supervisor never forgets one that went away (observed: 200 of
/// them took it from 121 MB to 1.2 GB), so an agent must hold one for as long as the Supervisor lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogListeners {
    /// All that have attached.
    pub opened: usize,
    /// Attached now.
    pub open: usize,
    /// Went away by themselves, before the Supervisor closed them.
    pub abandoned: usize,
}

/// The open log streams.
#[derive(Default)]
pub(crate) struct LogStreams(Mutex<Streams>);

#[derive(Default)]
struct Streams {
    open: Vec<mpsc::UnboundedSender<Bytes>>,
    opened: usize,
    abandoned: usize,
}

impl LogStreams {
    /// The log from now on. The first line is sent at once because the answer's headers wait for it, as in the real
    /// Supervisor.
    pub(crate) fn open(&self) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, lines) = mpsc::unbounded_channel();
        let _ = sender.send(bytes(
            &object! { "message" => "Streaming logs", "isSystem" => true },
        ));
        let mut streams = lock(&self.0);
        streams.opened += 1;
        streams.open.push(sender);
        lines
    }

    pub(crate) fn send_system_line(&self, message: &str, is_error: bool) {
        let mut line = object! { "message" => message, "isSystem" => true, "timestamp" => now() };
        if let (Json::Object(members), true) = (&mut line, is_error) {
            members.push(("isStdErr".to_owned(), true.into()));
        }
        self.send(&line);
    }

    /// Members in the order of S4-local-logs.
    pub(crate) fn send_container_line(&self, service: &str, service_id: u64, message: &str) {
        self.send(&object! {
            "serviceName" => service, "message" => message, "isStdErr" => false, "timestamp" => now(),
            "serviceId" => service_id,
        });
    }

    /// The Supervisor ends all streams, as its process does when it ends.
    pub(crate) fn close_all(&self) {
        let mut streams = lock(&self.0);
        streams.forget_abandoned();
        streams.open.clear();
    }

    pub(crate) fn listeners(&self) -> LogListeners {
        let mut streams = lock(&self.0);
        streams.forget_abandoned();
        LogListeners {
            opened: streams.opened,
            open: streams.open.len(),
            abandoned: streams.abandoned,
        }
    }

    fn send(&self, line: &Json) {
        let line = bytes(line);
        let mut streams = lock(&self.0);
        streams.forget_abandoned();
        for stream in &streams.open {
            let _ = stream.send(line.clone());
        }
    }
}

impl Streams {
    fn forget_abandoned(&mut self) {
        let before = self.open.len();
        self.open.retain(|stream| !stream.is_closed());
        self.abandoned += before - self.open.len();
    }
}

fn now() -> u64 {
    u64::try_from(unix_millis()).unwrap_or_default()
}

fn bytes(line: &Json) -> Bytes {
    format!("{}\n", line.to_text()).into()
}
