use super::*;
use crate::adapters::local_api::accept::{CONNECTIONS, HEAD_WITHIN};
use crate::adapters::local_api::held::{Impatient, WRITE_WITHIN};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::ErrorKind;

const HEALTH: &str = "GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const A_BIT: Duration = Duration::from_secs(1);

async fn connect_when_there_is_room(agent: &Agent) -> UnixStream {
    for _ in 0..10_000 {
        match UnixStream::connect(agent.socket()).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
            connected => return connected.unwrap(),
        }
    }
    panic!("the agent takes no connections");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_silent_connections_do_not_block_a_request() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let agent = Agent::start();
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(connect_when_there_is_room(&agent).await);
    }
    // At once, that is: before any of the others has run into its time limit.
    let mut client = connect_when_there_is_room(&agent).await;
    client.write_all(HEALTH.as_bytes()).await.unwrap();
    let reply = tokio::time::timeout(Duration::from_millis(1), read_all(&mut client))
        .await
        .unwrap();
    assert_eq!(Reply::parse(&reply).status, 200);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn with_all_slots_in_use_the_next_connection_waits() {
    let mut agent = Agent::start();
    let mut working = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = agent.connect().await;
        stream
            .write_all(agent.request("POST /v1/update/check", "", "").as_bytes())
            .await
            .unwrap();
        working.push(stream);
        ids.push(agent.asked().await.0);
    }
    let mut late = agent.connect().await;
    late.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut answer = std::pin::pin!(read_all(&mut late));
    assert!(tokio::time::timeout(A_BIT, answer.as_mut()).await.is_err());
    agent.reply(ids[7], LocalAnswer::Unlocked).await;
    assert_eq!(Reply::parse(&answer.await).status, 200);
    // Nobody at work was put out for it.
    assert_eq!(agent.pending.len(), CONNECTIONS - 1);
}

#[tokio::test(start_paused = true)]
async fn clients_whose_bodies_drip_in_do_not_block_a_request() {
    let agent = Agent::start();
    let head = agent.request(
        "PUT /v1/locks/a",
        "Content-Type: application/json\r\nContent-Length: 60000\r\n",
        "",
    );
    let mut slow = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        let mut stream = connect_when_there_is_room(&agent).await;
        // Those that were here first may have been closed.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(b" ").await;
        slow.push(stream);
    }
    for _ in 0..5 {
        let mut client = connect_when_there_is_room(&agent).await;
        client.write_all(HEALTH.as_bytes()).await.unwrap();
        let reply = tokio::time::timeout(Duration::from_millis(1), read_all(&mut client))
            .await
            .unwrap();
        assert_eq!(Reply::parse(&reply).status, 200);
    }
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_head_times_out() {
    let agent = Agent::start();
    let mut stream = agent.connect().await;
    stream
        .write_all(b"GET /v1/health HTTP/1.1\r\nHost: local")
        .await
        .unwrap();
    let mut answer = std::pin::pin!(read_all(&mut stream));
    assert!(
        tokio::time::timeout(HEAD_WITHIN - A_BIT, answer.as_mut())
            .await
            .is_err()
    );
    tokio::time::timeout(2 * A_BIT, answer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_before_and_after_a_request() {
    let agent = Agent::start();
    let mut fresh = agent.connect().await;
    let mut used = agent.connect().await;
    let request = HEALTH.replace("Connection: close\r\n", "");
    used.write_all(request.as_bytes()).await.unwrap();
    let both = async {
        assert_eq!(read_all(&mut fresh).await, "");
        assert_eq!(Reply::parse(&read_all(&mut used).await).status, 200);
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_disconnected() {
    let (near, _far) = tokio::io::duplex(16);
    let mut stream = Impatient::new(near);
    let mut writing = std::pin::pin!(stream.write_all(&[0; 64]));
    assert!(
        tokio::time::timeout(WRITE_WITHIN - A_BIT, writing.as_mut())
            .await
            .is_err()
    );
    assert_eq!(writing.await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_the_whole_answer() {
    let (near, mut far) = tokio::io::duplex(16);
    let mut stream = Impatient::new(near);
    let mut writing = std::pin::pin!(stream.write_all(&[0; 64]));
    let mut taken = [0; 16];
    for _ in 0..3 {
        assert!(
            tokio::time::timeout(WRITE_WITHIN - A_BIT, writing.as_mut())
                .await
                .is_err()
        );
        far.read_exact(&mut taken).await.unwrap();
    }
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tcp_has_the_same_guards() {
    let agent = Agent::start_with(FakeVault::default(), Some("127.0.0.3:0".parse().unwrap()));
    for (host, status) in [
        ("127.0.0.3", "200"),
        ("localhost", "200"),
        ("127.0.0.2", "421"),
        ("evil.example", "421"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(agent.tcp.unwrap()).await.unwrap();
        stream
            .write_all(HEALTH.replace("localhost", host).as_bytes())
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.split(' ').nth(1), Some(status));
    }
}
