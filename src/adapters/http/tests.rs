//! Calls to a fake server.

use super::*;
use crate::adapters::fake::{Fake, Reply, http, json};
use hyper::Request;
use hyper::body::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(300);

fn client(server: SocketAddr, lifetime: Duration) -> Client {
    let server = format!("http://{server}").parse().unwrap();
    Client::new(
        Connector::new(server, Duration::from_secs(5)),
        Kept { at_most: 2, lifetime },
    )
}

async fn call(client: &Client, server: SocketAddr) -> Result<Answer, HttpError> {
    let request = Request::post(format!("http://{server}/path?a=b"))
        .body(Body::new(Bytes::from_static(b"{}")))
        .unwrap();
    client.call(request, Limits::default()).await
}

/// A call whose answer is read to its end.
async fn whole_call(client: &Client, server: SocketAddr) {
    let mut answer = call(client, server).await.unwrap();
    while answer.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", "{}"))).await;
    let client = client(fake.address, Duration::from_secs(60));
    for _ in 0..3 {
        whole_call(&client, fake.address).await;
    }
    assert_eq!(fake.connections(), 1);
    let head = &fake.seen()[2].head;
    assert!(head.starts_with("POST /path?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}", fake.address)), "{head}");
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_not_used() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", "{}"))).await;
    let client = client(fake.address, Duration::ZERO);
    for _ in 0..2 {
        whole_call(&client, fake.address).await;
    }
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_meanwhile_costs_no_call() {
    let fake = Fake::start(|_| Reply::Cut(json("200 OK", "{}"))).await;
    let client = client(fake.address, Duration::from_secs(60));
    for calls in 1..=20 {
        whole_call(&client, fake.address).await;
        assert_eq!(fake.seen().len(), calls, "none is repeated");
    }
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_is_not_used_again() {
    let fake = Fake::start(|_| Reply::Bytes(json("200 OK", "{}"))).await;
    let client = client(fake.address, Duration::from_secs(60));
    for _ in 0..2 {
        drop(call(&client, fake.address).await.unwrap());
    }
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn a_server_that_wants_no_further_request_on_a_connection_gets_a_new_one() {
    let fake = Fake::start(|_| Reply::Bytes(http("200 OK", &[("connection", "close")], "{}"))).await;
    let client = client(fake.address, Duration::from_secs(60));
    for _ in 0..2 {
        whole_call(&client, fake.address).await;
    }
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn the_time_limits_hold_for_the_head_and_for_each_piece_of_the_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{";
    let silent = Fake::start(|_| Reply::Silence).await;
    let stalled = Fake::start(move |_| Reply::Drip(head.into(), Duration::from_secs(600))).await;
    let dripping = Fake::start(move |_| Reply::Drip(head.into(), Duration::from_millis(20))).await;
    let progress = Limits {
        progress: Some(SOON),
        total: None,
    };
    let total = Limits {
        progress: None,
        total: Some(SOON),
    };
    for (fake, limits) in [(silent, progress), (stalled, progress), (dripping, total)] {
        let client = client(fake.address, Duration::from_secs(60));
        let request = Request::get(format!("http://{}/", fake.address))
            .body(Body::default())
            .unwrap();
        let error = match client.call(request, limits).await {
            Err(error) => error,
            Ok(mut answer) => loop {
                if let Err(error) = answer.chunk().await {
                    break error;
                }
            },
        };
        assert!(matches!(error, HttpError::Timeout), "{error:?}");
    }
}

#[tokio::test]
async fn who_does_not_answer_a_connection_is_told_from_who_refuses_it() {
    let gone = Fake::nobody().await;
    let refused = call(&client(gone, Duration::ZERO), gone).await.err().unwrap();
    assert!(
        matches!(refused, HttpError::Connect { proxy: None, .. }),
        "{refused:?}"
    );
    // TEST-NET-1 (RFC 5737): nothing answers there, or the network says at once that there is no way.
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let server = format!("http://{nowhere}").parse().unwrap();
    let kept = Kept {
        at_most: 1,
        lifetime: Duration::ZERO,
    };
    let client = Client::new(Connector::new(server, Duration::from_millis(1)), kept);
    let error = call(&client, nowhere).await.err().unwrap();
    assert!(
        matches!(
            error,
            HttpError::ConnectTimeout { .. } | HttpError::Connect { .. }
        ),
        "{error:?}"
    );
}
