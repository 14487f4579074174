//! The local API under abuse, over the real socket: whoever asks properly is answered all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod rig;
#[path = "support/wire.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod wire;

use baseos_simulator::harness::wait_until;
use futures_util::future::join_all;
use rig::{Rig, SOON};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use wire::{connect, exchange, token};

const CROWD: usize = 1000;

async fn started() -> Rig {
    let mut rig = Rig::new();
    rig.start().await;
    rig
}

async fn descriptors_fall_to(rig: &mut Rig, limit: usize) {
    let fell = wait_until("descriptors are given back", SOON, async || {
        let open = rig.descriptors();
        if open <= limit {
            Ok(())
        } else {
            Err(format!("{open} open, not {limit}"))
        }
    });
    fell.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_cost_the_others_nothing() {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(4096),
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        },
    )
    .unwrap();
    let mut rig = started().await;
    let before = rig.descriptors();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(connect(&rig).await);
        if number % 250 == 0 {
            rig.api().status().await.unwrap();
        }
    }
    rig.api().status().await.unwrap();
    assert!(
        rig.descriptors() < before + 64,
        "{} descriptors",
        rig.descriptors()
    );
    rig.is_well().await.unwrap();
    drop(crowd);
    descriptors_fall_to(&mut rig, before + 2).await;
    // All at once, each with something to say: each is answered.
    let api = rig.api();
    let asked = (0..CROWD).map(|_| async {
        wait_until("an answer", SOON, async || {
            api.status().await.map(drop).map_err(|error| error.to_string())
        })
        .await
    });
    for answer in join_all(asked).await {
        answer.unwrap();
    }
    descriptors_fall_to(&mut rig, before + 2).await;
    rig.is_well().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_request_is_refused_with_its_own_status() {
    let mut rig = started().await;
    let bearer = format!("Authorization: Bearer {}\r\n", token(&rig));
    let get = |headers: &str| format!("GET /v1/status HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let lock = |headers: &str, body: &str| {
        format!(
            "PUT /v1/locks/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{bearer}{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let json = "Content-Type: application/json\r\n";
    let good = r#"{"reason":"r","ttlSeconds":5}"#;
    let host = "Host: localhost\r\n";
    let chunks = format!(
        "PUT /v1/locks/x HTTP/1.1\r\nConnection: close\r\n{host}{bearer}{json}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("4000\r\n{}\r\n", " ".repeat(0x4000)).repeat(8)
    );
    let path = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nConnection: close\r\n{host}{bearer}{json}Content-Length: 2\r\n\r\n{{}}"
        )
    };
    let cases = [
        ("wrong Host", get(&format!("Host: evil.example\r\n{bearer}")), 421),
        (
            "Host with our name in it",
            get(&format!("Host: localhost.evil.example\r\n{bearer}")),
            421,
        ),
        ("no Host", get(&bearer), 421),
        (
            "two Hosts",
            get(&format!("{host}Host: evil.example\r\n{bearer}")),
            421,
        ),
        (
            "foreign authority",
            format!("GET http://evil.example/v1/status HTTP/1.1\r\n{host}{bearer}Connection: close\r\n\r\n"),
            421,
        ),
        (
            "Origin",
            get(&format!("{host}{bearer}Origin: http://localhost\r\n")),
            403,
        ),
        (
            "Origin null",
            get(&format!("{host}{bearer}Origin: null\r\n")),
            403,
        ),
        (
            "a page",
            get(&format!("{host}{bearer}Sec-Fetch-Site: same-origin\r\n")),
            403,
        ),
        ("no token", get(host), 401),
        (
            "empty token",
            get(&format!("{host}Authorization: Bearer \r\n")),
            401,
        ),
        (
            "half the token",
            get(&format!("{host}{}\r\n", &bearer[..bearer.len() - 12])),
            401,
        ),
        (
            "another scheme",
            get(&format!("{host}Authorization: Basic c3psXzp4\r\n")),
            401,
        ),
        (
            "announced too large",
            format!("PUT /v1/locks/x HTTP/1.1\r\n{host}{bearer}{json}Content-Length: 999999999\r\n\r\n"),
            413,
        ),
        ("too large in chunks", chunks, 413),
        (
            "form",
            lock("Content-Type: application/x-www-form-urlencoded\r\n", good),
            415,
        ),
        ("no type", lock("", good), 415),
        ("not JSON", lock(json, "{reason"), 422),
        ("deep JSON", lock(json, &"[".repeat(60_000)), 422),
        ("not UTF-8 as JSON", lock(json, "\"\u{fffd}"), 422),
        ("a list", lock(json, "[]"), 422),
        (
            "unknown member",
            lock(json, r#"{"reason":"r","ttlSeconds":5,"force":true}"#),
            422,
        ),
        ("wrong type", lock(json, r#"{"reason":7,"ttlSeconds":"5"}"#), 422),
        ("negative", lock(json, r#"{"reason":"r","ttlSeconds":-5}"#), 422),
        ("too long", lock(json, r#"{"reason":"r","ttlSeconds":3601}"#), 422),
        ("nothing", lock(json, r#"{"reason":"r","ttlSeconds":0}"#), 422),
        (
            "unknown scope",
            lock(json, r#"{"reason":"r","ttlSeconds":5,"scope":"moon"}"#),
            422,
        ),
        ("path out of the directory", path("/v1/locks/..%2F..%2Fetc"), 422),
        ("a name with a zero", path("/v1/locks/a%00b"), 422),
        ("no such call", path("/v1/nothing"), 404),
        ("wrong method", path("/v1/status"), 405),
        ("garbage", "\u{1}\u{2}\u{3} hello\r\n\r\n".to_owned(), 400),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\u{2}".to_owned() + &"\0".repeat(64) + "\r\n\r\n",
            400,
        ),
        (
            "a huge head",
            get(&format!("{host}X-A: {}\r\n", "a".repeat(40_000))),
            431,
        ),
    ];
    for (name, request, wanted) in cases {
        let answer = exchange(&rig, request.as_bytes()).await;
        assert_eq!(answer.status, wanted, "{name}: {}", answer.text);
        assert!(!answer.text.contains(&token(&rig)[15..]), "{name}");
        if (401..=422).contains(&wanted) {
            assert!(
                answer.text.contains("application/problem+json"),
                "{name}: {}",
                answer.text
            );
        }
    }
    let usual = exchange(&rig, get(&format!("{host}{bearer}")).as_bytes()).await;
    assert_eq!(usual.status, 200, "{}", usual.text);
    rig.is_well().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_cut_off_and_garbage_behind_a_request_harms_only_itself() {
    let mut rig = started().await;
    let before = rig.descriptors();
    let mut slow = connect(&rig).await;
    slow.write_all(b"GET /v1/status HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = connect(&rig).await;
    let bearer = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n\r\n", token(&rig));
    let pipelined = format!("GET /v1/status HTTP/1.1\r\n{bearer}").repeat(20) + "\u{0}garbage\r\n\r\n";
    let answer = exchange(&rig, pipelined.as_bytes()).await;
    assert_eq!(
        answer.text.matches("HTTP/1.1 200 OK").count(),
        20,
        "{}",
        answer.text
    );
    assert!(answer.text.contains("HTTP/1.1 400"), "{}", answer.text);
    let mut rest = Vec::new();
    for stream in [&mut slow, &mut idle] {
        // Ended by the other side, with or without a word, long before a client's patience ends.
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open");
    }
    descriptors_fall_to(&mut rig, before + 2).await;
    rig.is_well().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_that_do_not_read_leave_room_for_others() {
    let mut rig = started().await;
    let before = rig.descriptors();
    let listen = format!(
        "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        token(&rig)
    );
    let mut deaf: Vec<UnixStream> = Vec::new();
    for _ in 0..16 {
        let mut stream = connect(&rig).await;
        stream.write_all(listen.as_bytes()).await.unwrap();
        // Its head shows that it has its seat.
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        deaf.push(stream);
    }
    let answer = exchange(
        &rig,
        listen
            .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(
        answer.text.to_ascii_lowercase().contains("retry-after: 30"),
        "{}",
        answer.text
    );
    for _ in 0..50 {
        rig.api().status().await.unwrap();
    }
    drop(deaf);
    descriptors_fall_to(&mut rig, before + 2).await;
    let mut stream = connect(&rig).await;
    stream.write_all(listen.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    rig.is_well().await.unwrap();
}
