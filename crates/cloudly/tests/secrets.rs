//! No token reaches the log, however much is logged. A test of its own process, for the log is the process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, beside the tests"
)]

mod support;

use baseos_interfaces::token::TokenKind;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use support::{Cloudly, Device, good};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_token_reaches_the_log_even_at_trace_level_and_with_tokens_in_wrong_places() {
    let log = Log::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(log.clone())
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(LevelFilter::TRACE)
        .with(layer)
        .init();

    let mut cloudly = Cloudly::start_with(|settings| {
        let token = baseos_interfaces::token::Token::mint(TokenKind::Join, |bytes| bytes.fill(7));
        settings.baseos_join_token = Some(token.expose().into());
    })
    .await;
    let join = cloudly.join_token(json!({})).await;
    let stranger = cloudly_baseos::mint(TokenKind::Join).unwrap().expose().to_owned();
    let mut device = Device::new(good(cloudly.register(&join, "reg-1").await).await);
    cloudly.register(&join, "reg-2").await;
    cloudly.register(&stranger, "reg-3").await;
    cloudly.register(&join[..40], "reg-4").await;
    device.beat(&cloudly).await;
    let _: Value = cloudly
        .post(
            &format!("nodes/{}/commands", device.id),
            json!({ "type": "rotateToken" }),
        )
        .await;
    let next = device
        .beat(&cloudly)
        .await
        .credentials
        .unwrap()
        .node_token
        .expose()
        .to_owned();
    let old = std::mem::replace(&mut device.token, next.clone());
    device.beat(&cloudly).await;
    let mut wrong = device.clone();
    wrong.token.clone_from(&old);
    wrong.refused(&cloudly).await;
    // In the URL, in the query, in a member that is a number, and as a whole body.
    let _ = cloudly.http.get(format!("{}/{join}", cloudly.url)).send().await;
    let _ = cloudly
        .http
        .get(format!("{}/healthz?token={join}", cloudly.url))
        .send()
        .await;
    let url = format!("{}/baseos/v1/nodes/register", cloudly.url);
    let _ = cloudly
        .http
        .post(&url)
        .json(&json!({ "protocolVersion": join }))
        .send()
        .await;
    let _ = cloudly.http.post(&url).json(&join).send().await;
    let admin = cloudly.admin.clone();
    cloudly.stop().await;

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("node.registered"), "the log is being read");
    // The test's own HTTP client writes into the same log; only what Cloudly and its libraries write counts.
    let lines = || {
        text.lines()
            .filter(|line| !line.contains("reqwest") && !line.contains("hyper_util::client"))
    };
    let configured = baseos_interfaces::token::Token::mint(TokenKind::Join, |bytes| bytes.fill(7));
    for token in [&join, &stranger, &old, &next, &admin, configured.expose()] {
        let secret = &token[15..58];
        let leak = lines().find(|line| line.contains(secret));
        assert_eq!(leak, None);
    }
}
