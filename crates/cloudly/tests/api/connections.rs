//! Connections: those that bring nothing keep nobody out.

use crate::support::{Cloudly, Engine};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than anything takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(60);

async fn connect(cloudly: &Cloudly, sends: &[u8]) -> TcpStream {
    let address = cloudly.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sends).await.unwrap();
    stream
}

/// Waits until the server has closed it, with whatever it answered before.
async fn wait_closed(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    // A connection that is reset is closed too.
    assert!(closed.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn more_half_open_requests_than_connections_keep_no_node_out() {
    let cloudly = Cloudly::start_with(Engine::Sqlite, |settings| {
        settings.max_connections = 8;
        settings.first_request_within = Duration::from_secs(3600);
    })
    .await;
    let mut device = cloudly.enrol("edge").await;
    let mut half_open = Vec::new();
    for _ in 0..50 {
        half_open.push(connect(&cloudly, b"GET /healthz HTTP/1.1\r\n").await);
    }
    for _ in 0..10 {
        device.heartbeat(&cloudly).await;
    }
    // The first of them made room.
    wait_closed(&mut half_open[0]).await;
}

#[tokio::test]
async fn a_connection_that_brings_no_request_in_time_is_closed_and_one_that_does_is_kept() {
    let cloudly = Cloudly::start_with(Engine::Sqlite, |settings| {
        settings.first_request_within = Duration::from_millis(200);
    })
    .await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: cloudly\r\n\r\n";
    let mut good = connect(&cloudly, request).await;
    let mut answer = [0; 12];
    good.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    for sends in [&b""[..], b"GET /healthz HTTP/1.1\r\n"] {
        wait_closed(&mut connect(&cloudly, sends).await).await;
    }
    good.write_all(request).await.unwrap();
    let mut more = [0; 4096];
    assert_ne!(good.read(&mut more).await.unwrap(), 0, "it is open");
}
