use super::*;
use crate::adapters::local_api::notices::{KEPT, LISTENERS};
use baseos_interfaces::local::Notice;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};

struct Listening(Lines<BufReader<UnixStream>>);

impl Listening {
    /// The next event: its id, name and data; a comment has none of them.
    async fn next(&mut self) -> Option<(String, String, String)> {
        let (mut id, mut name, mut data) = Default::default();
        while let Some(line) = self.0.next_line().await.ok()? {
            match line.split_once(':') {
                Some(("id", value)) => id = value.trim().to_owned(),
                Some(("event", value)) => name = value.trim().to_owned(),
                Some(("data", value)) => data = value.trim().to_owned(),
                // Chunk sizes stand between; an empty line after something ends an event.
                Some(("", _)) => return Some((id, "comment".to_owned(), data)),
                _ if line.is_empty() && !name.is_empty() => return Some((id, name, data)),
                _ => {}
            }
        }
        None
    }
}

impl Agent {
    async fn listen(&self, headers: &str) -> Listening {
        let mut stream = self.connect().await;
        let request = self.request("GET /v1/events", headers, "");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next_line().await.unwrap().unwrap();
        assert_eq!(first, "HTTP/1.1 200 OK");
        while !lines.next_line().await.unwrap().unwrap().is_empty() {}
        Listening(lines)
    }

    async fn publish(&self, percent: u8) {
        let notice = Notice::Progress {
            target: "77c2".to_owned(),
            percent,
        };
        self.mailbox
            .send(Effect::Publish {
                notice: Box::new(notice),
            })
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_gets_new_notices() {
    let agent = Agent::start();
    agent.publish(1).await;
    // Answered after the notice, so it was published before the listener came.
    assert_eq!(agent.call("GET /metrics", "", "").await.status, 200);
    let mut listening = agent.listen("").await;
    agent.publish(2).await;
    let (id, name, data) = listening.next().await.unwrap();
    assert!(id.ends_with(".2"), "{id}");
    assert_eq!(
        (name.as_str(), data.as_str()),
        ("progress", r#"{"type":"progress","target":"77c2","percent":2}"#)
    );
    assert_eq!(listening.next().await.unwrap().1, "comment");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_reconnects_gets_missed_notices() {
    let agent = Agent::start();
    let mut listening = agent.listen("").await;
    for percent in 1..=3 {
        agent.publish(percent).await;
    }
    let (id, ..) = listening.next().await.unwrap();
    drop(listening);
    let mut back = agent.listen(&format!("Last-Event-ID: {id}\r\n")).await;
    for percent in [2, 3] {
        assert!(back.next().await.unwrap().2.ends_with(&format!(":{percent}}}")));
    }
    // An id of another run, or from the future, says nothing about this one: better twice than never.
    for strange in ["00000000.2", "garbage", &id.replace(".1", ".999")] {
        let mut back = agent.listen(&format!("Last-Event-ID: {strange}\r\n")).await;
        assert!(back.next().await.unwrap().0.ends_with(".1"), "{strange}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_missed_too_much_is_told_of_the_gap() {
    let agent = Agent::start();
    let mut listening = agent.listen("").await;
    agent.publish(0).await;
    let (id, ..) = listening.next().await.unwrap();
    drop(listening);
    for _ in 0..=KEPT {
        agent.publish(7).await;
    }
    assert_eq!(agent.call("GET /metrics", "", "").await.status, 200);
    let mut back = agent.listen(&format!("Last-Event-ID: {id}\r\n")).await;
    assert_eq!(back.next().await.unwrap().1, "gap");
    for number in 3..=KEPT + 2 {
        assert!(back.next().await.unwrap().0.ends_with(&format!(".{number}")));
    }
    assert_eq!(back.next().await.unwrap().1, "comment");
}

#[tokio::test(start_paused = true)]
async fn listeners_cannot_take_all_connections() {
    let agent = Agent::start();
    let mut listening = Vec::new();
    for _ in 0..LISTENERS {
        listening.push(agent.listen("").await);
    }
    let reply = agent.call("GET /v1/events", "", "").await;
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (503, "30"));
    drop(listening.pop());
    // The agent notices when it next has something to say, a comment at the latest.
    assert_eq!(listening[0].next().await.unwrap().1, "comment");
    agent.listen("").await;
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_agent_stops() {
    let agent = Agent::start();
    let mut listening = agent.listen("").await;
    drop(agent.mailbox);
    assert_eq!(listening.next().await, None);
    agent.served.await.unwrap();
}
