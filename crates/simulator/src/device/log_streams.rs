//! The clients of `GET /v2/local/logs`.

use crate::clock::unix_millis;
use crate::json::{Json, object};
use crate::sync::lock;
use hyper::body::Bytes;
use std::sync::Mutex;
use tokio::sync::mpsc;

/// The open log streams. One whose client is gone is removed at the next line.
#[derive(Default)]
pub(crate) struct LogStreams(Mutex<Vec<mpsc::UnboundedSender<Bytes>>>);

impl LogStreams {
    /// The log from now on. The first line is sent at once because the answer's headers wait for it, as in the real
    /// Supervisor.
    pub(crate) fn open(&self) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, lines) = mpsc::unbounded_channel();
        let _ = sender.send(bytes(
            &object! { "message" => "Streaming logs", "isSystem" => true },
        ));
        lock(&self.0).push(sender);
        lines
    }

    pub(crate) fn send_system_line(&self, message: &str) {
        self.send(&object! { "message" => message, "isSystem" => true, "timestamp" => now() });
    }

    pub(crate) fn send_container_line(&self, service: &str, service_id: u64, message: &str) {
        self.send(&object! {
            "message" => message, "isStdErr" => false, "timestamp" => now(), "serviceId" => service_id,
            "serviceName" => service,
        });
    }

    pub(crate) fn close_all(&self) {
        lock(&self.0).clear();
    }

    fn send(&self, line: &Json) {
        let line = bytes(line);
        lock(&self.0).retain(|stream| stream.send(line.clone()).is_ok());
    }
}

fn now() -> u64 {
    u64::try_from(unix_millis()).unwrap_or_default()
}

fn bytes(line: &Json) -> Bytes {
    format!("{}\n", line.to_text()).into()
}
