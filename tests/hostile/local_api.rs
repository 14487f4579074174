//! The local API with wrong, slow and too many clients: well-behaved clients are served all the same.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use crate::support::raw_http::{connect, send, token};
use baseos_simulator::harness::{ensure, run_cases, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const CONNECTIONS: usize = 1000;
/// Descriptors that the test needs for them.
const DESCRIPTORS: u64 = 4096;

async fn wait_descriptors(agent: &mut AgentProcess, limit: usize) {
    let look = async || {
        let open = agent.open_descriptors();
        ensure(open <= limit, || format!("{open} open, not {limit}"))
    };
    wait_until("descriptors are closed", LIMIT, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_do_not_keep_others_from_being_served() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < DESCRIPTORS) {
        let raised = Rlimit {
            current: Some(DESCRIPTORS),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
    let mut agent = AgentProcess::started().await;
    let before = agent.open_descriptors();
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        idle.push(connect(&agent).await);
        if number % 250 == 0 {
            agent.api().status().await.unwrap();
        }
    }
    agent.api().status().await.unwrap();
    assert!(
        agent.open_descriptors() < before + 64,
        "{} descriptors",
        agent.open_descriptors()
    );
    agent.check_health().await.unwrap();
    drop(idle);
    wait_descriptors(&mut agent, before + 2).await;
    // Requests at the same time: each is answered.
    let api = agent.api();
    let requests = (0..CONNECTIONS).map(|number| {
        let answer = wait_until("an answer", LIMIT, async || {
            let status = api.status().await;
            status.map(drop).map_err(|error| error.to_string())
        });
        (number, answer)
    });
    run_cases(requests).await.unwrap();
    wait_descriptors(&mut agent, before + 2).await;
    agent.check_health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_each_wrong_request_with_its_own_status() {
    let mut agent = AgentProcess::started().await;
    let bearer = format!("Authorization: Bearer {}\r\n", token(&agent));
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
        let answer = send(&agent, request.as_bytes()).await;
        assert_eq!(answer.status, wanted, "{name}: {}", answer.text);
        assert!(!answer.text.contains(&token(&agent)[15..]), "{name}");
        if (401..=422).contains(&wanted) {
            assert!(
                answer.text.contains("application/problem+json"),
                "{name}: {}",
                answer.text
            );
        }
    }
    let usual = send(&agent, get(&format!("{host}{bearer}")).as_bytes()).await;
    assert_eq!(usual.status, 200, "{}", usual.text);
    agent.check_health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_slow_connections_and_answers_requests_before_garbage() {
    let mut agent = AgentProcess::started().await;
    let before = agent.open_descriptors();
    let mut slow = connect(&agent).await;
    slow.write_all(b"GET /v1/status HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = connect(&agent).await;
    let bearer = format!(
        "Host: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        token(&agent)
    );
    let pipelined = format!("GET /v1/status HTTP/1.1\r\n{bearer}").repeat(20) + "\u{0}garbage\r\n\r\n";
    let answer = send(&agent, pipelined.as_bytes()).await;
    assert_eq!(
        answer.text.matches("HTTP/1.1 200 OK").count(),
        20,
        "{}",
        answer.text
    );
    assert!(answer.text.contains("HTTP/1.1 400"), "{}", answer.text);
    let mut rest = Vec::new();
    for stream in [&mut slow, &mut idle] {
        let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open");
    }
    wait_descriptors(&mut agent, before + 2).await;
    agent.check_health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_clients_that_do_not_read_do_not_keep_others_from_being_served() {
    let mut agent = AgentProcess::started().await;
    let before = agent.open_descriptors();
    let listen = format!(
        "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        token(&agent)
    );
    let mut clients: Vec<UnixStream> = Vec::new();
    for _ in 0..16 {
        clients.push(open_events(&agent, &listen).await);
    }
    let answer = send(
        &agent,
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
        agent.api().status().await.unwrap();
    }
    drop(clients);
    wait_descriptors(&mut agent, before + 2).await;
    drop(open_events(&agent, &listen).await);
    agent.check_health().await.unwrap();
}

/// Sends the request and reads the start of the answer: the client is accepted.
async fn open_events(agent: &AgentProcess, request: &str) -> UnixStream {
    let mut stream = connect(agent).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}
