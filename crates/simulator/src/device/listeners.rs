//! Who listens to `GET /v2/local/logs`, and what they hear.

use crate::clock::unix_millis;
use crate::json::{Json, object};
use hyper::body::Bytes;
use std::sync::Mutex;
use tokio::sync::mpsc;

/// The open logs. A listener that is gone is forgotten at the next line.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<mpsc::UnboundedSender<Bytes>>>);

impl Listeners {
    /// The log from now on. The first line comes at once, so that the answer begins (the source says why: headers
    /// wait for it).
    pub(crate) fn attach(&self) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, lines) = mpsc::unbounded_channel();
        let _ = sender.send(bytes(
            &object! { "message" => "Streaming logs", "isSystem" => true },
        ));
        super::lock(&self.0).push(sender);
        lines
    }

    /// A line of the Supervisor's own.
    pub(crate) fn system(&self, message: &str) {
        self.send(&object! { "message" => message, "isSystem" => true, "timestamp" => now() });
    }

    /// A line a container wrote.
    pub(crate) fn container(&self, service: &str, service_id: u64, message: &str) {
        self.send(&object! {
            "message" => message, "isStdErr" => false, "timestamp" => now(), "serviceId" => service_id,
            "serviceName" => service,
        });
    }

    /// The Supervisor's process ends, and every log with it.
    pub(crate) fn cut(&self) {
        super::lock(&self.0).clear();
    }

    fn send(&self, line: &Json) {
        let line = bytes(line);
        super::lock(&self.0).retain(|listener| listener.send(line.clone()).is_ok());
    }
}

fn now() -> u64 {
    u64::try_from(unix_millis()).unwrap_or_default()
}

fn bytes(line: &Json) -> Bytes {
    format!("{}\n", line.to_text()).into()
}
