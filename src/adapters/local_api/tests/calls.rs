use super::*;
use crate::adapters::local_api::pending::ANSWER_WITHIN;
use baseos_interfaces::codes::ProblemCode;
use baseos_interfaces::local::{CloudlyStatus, Doctor, Handshake, LockScope, Locks, UpdateAnswer};
use baseos_interfaces::problem::Problem;
use baseos_interfaces::states::UpdateState;
use std::io::Write;

fn handshake() -> LocalAnswer {
    LocalAnswer::Handshake(Handshake {
        runtime: "baseos".to_owned(),
        agent_version: "1".to_owned(),
        node_id: None,
        capabilities: Vec::new(),
    })
}

fn update() -> LocalAnswer {
    let answer = UpdateAnswer {
        state: UpdateState::Idle,
        blocked_by: Vec::new(),
        deferred_until: None,
    };
    LocalAnswer::Update(answer)
}

fn join_token() -> Token {
    let entropy = entropy();
    Token::mint(TokenKind::Join, |bytes| entropy(bytes))
}

#[tokio::test(start_paused = true)]
async fn every_call_reaches_the_machine_and_its_answer_comes_back() {
    let mut agent = Agent::start();
    let doctor = LocalAnswer::Doctor(Doctor { checks: Vec::new() });
    let locks = LocalAnswer::Locks(Locks::default());
    let calls = [
        ("GET /v1/handshake", LocalCall::Handshake, handshake(), 200),
        ("POST /v1/update/check", LocalCall::Check, update(), 200),
        ("POST /v1/update/approve", LocalCall::Approve, update(), 200),
        ("GET /v1/locks", LocalCall::Locks, locks, 200),
        ("GET /v1/doctor", LocalCall::Doctor, doctor, 200),
        (
            "GET /v1/status",
            LocalCall::Status,
            LocalAnswer::Problem(Problem::new(500, ProblemCode::Internal, "x")),
            500,
        ),
    ];
    for (text, call, answer, status) in calls {
        let (asked, reply) = agent.exchange(agent.request(text, "", ""), answer).await;
        assert_eq!((asked, reply.status), (call, status), "{text}");
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let defer = agent.request(
        "POST /v1/update/defer",
        json,
        r#"{"untilSeconds":60,"reason":"r"}"#,
    );
    let (asked, reply) = agent.exchange(defer, update()).await;
    assert!(matches!(asked, LocalCall::Defer(defer) if defer.until_seconds == 60 && defer.reason == "r"));
    assert_eq!(reply.json()["state"], "idle");
}

#[tokio::test(start_paused = true)]
async fn a_lock_has_the_clients_name_and_unlocking_needs_no_body() {
    let mut agent = Agent::start();
    let headers = "Content-Type: application/json\r\nUser-Agent: Onebox/2.1\r\n";
    let body = r#"{"reason":"backup","ttlSeconds":60,"scope":"hostOs"}"#;
    let draining = Problem::new(423, ProblemCode::Locked, "An update is draining.").retry_after(Some(90));
    let request = agent.request("PUT /v1/locks/nightly.backup-1", headers, body);
    let (asked, reply) = agent.exchange(request, LocalAnswer::Problem(draining)).await;
    let LocalCall::Lock { name, owner, request } = asked else {
        panic!("{asked:?}")
    };
    assert_eq!((name.as_str(), owner.as_str()), ("nightly.backup-1", "onebox"));
    assert_eq!(
        (request.reason.as_str(), request.ttl_seconds, request.scope),
        ("backup", 60, LockScope::HostOs)
    );
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (423, "90"));

    let request = agent.request("DELETE /v1/locks/nightly.backup-1", "", "");
    let (asked, reply) = agent.exchange(request, LocalAnswer::Unlocked).await;
    assert_eq!(
        asked,
        LocalCall::Unlock {
            name: "nightly.backup-1".to_owned(),
            owner: "local".to_owned()
        }
    );
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_requests_in_any_order() {
    let mut agent = Agent::start();
    let mut first = agent.connect().await;
    first
        .write_all(agent.request("GET /v1/handshake", "", "").as_bytes())
        .await
        .unwrap();
    let (first_id, _) = agent.asked().await;
    let mut second = agent.connect().await;
    second
        .write_all(agent.request("POST /v1/update/check", "", "").as_bytes())
        .await
        .unwrap();
    let (second_id, _) = agent.asked().await;
    assert_ne!(first_id, second_id);
    agent.reply(second_id, update()).await;
    agent.reply(first_id, handshake()).await;
    // One nobody waits for does no harm.
    agent.reply(RequestId(999), update()).await;
    assert_eq!(
        Reply::parse(&read_all(&mut first).await).json()["runtime"],
        "baseos"
    );
    assert_eq!(Reply::parse(&read_all(&mut second).await).json()["state"], "idle");
    assert_eq!(agent.pending.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_join_tokens_secret_goes_to_the_vault_and_nowhere_else() {
    let mut agent = Agent::start();
    let token = join_token();
    let body = format!(r#"{{"joinToken":"{}","replace":true}}"#, token.expose());
    let request = agent.request("POST /v1/join", "Content-Type: application/json\r\n", &body);
    let (asked, reply) = agent
        .exchange(request, LocalAnswer::Joining(CloudlyStatus::default()))
        .await;
    assert_eq!(reply.status, 202);
    assert_eq!(*agent.vault.offered.lock().unwrap(), [token.expose()]);
    let event = serde_json::to_string(&asked).unwrap();
    assert!(!event.contains(&token.expose()[15..]));
    let LocalCall::Join(offer) = asked else {
        panic!("{event}")
    };
    assert_eq!((offer.token.as_ref(), offer.replace), (Ok(token.id()), true));
    assert_eq!(offer.registration_id, RegistrationId::new(0, [7; 16]));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_join_token_is_refused_with_the_reason() {
    let agent = Agent::start();
    let token = join_token();
    let cut = &token.expose()[..50];
    let reply = agent
        .json_call("POST /v1/join", &format!(r#"{{"joinToken":"{cut}"}}"#))
        .await;
    assert_eq!(reply.status, 422);
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("this has 50: was it copied whole?")
    );
    assert_eq!(reply.json()["errors"][0]["pointer"], "/joinToken");
    assert!(!reply.body.contains(cut));
    assert!(agent.vault.offered.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_join_token_that_cannot_be_stored_is_refused() {
    let agent = Agent::start_with(
        FakeVault {
            full: true,
            ..FakeVault::default()
        },
        None,
    );
    let body = format!(r#"{{"joinToken":"{}"}}"#, join_token().expose());
    let reply = agent.json_call("POST /v1/join", &body).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["detail"], "cannot store credentials: no space left");
    assert_eq!(agent.pending.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_times_out() {
    let mut agent = Agent::start();
    let mut stream = agent.connect().await;
    stream
        .write_all(agent.request("GET /v1/status", "", "").as_bytes())
        .await
        .unwrap();
    let (id, _) = agent.asked().await;
    let mut answer = std::pin::pin!(read_all(&mut stream));
    assert!(
        tokio::time::timeout(ANSWER_WITHIN - Duration::from_secs(1), answer.as_mut())
            .await
            .is_err()
    );
    let reply = Reply::parse(&answer.await);
    assert_eq!((reply.status, &reply.json()["retryable"]), (503, &true.into()));
    assert_eq!(agent.pending.len(), 0);
    agent.reply(id, update()).await;
}

#[tokio::test(start_paused = true)]
async fn the_request_of_a_closed_connection_is_dropped() {
    let mut agent = Agent::start();
    let mut stream = agent.connect().await;
    stream
        .write_all(agent.request("GET /v1/status", "", "").as_bytes())
        .await
        .unwrap();
    agent.asked().await;
    assert_eq!(agent.pending.len(), 1);
    drop(stream);
    let pending = agent.pending.clone();
    until(|| pending.len() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn open_requests_get_503_when_the_agent_stops() {
    let mut agent = Agent::start();
    let mut stream = agent.connect().await;
    stream
        .write_all(agent.request("GET /v1/status", "", "").as_bytes())
        .await
        .unwrap();
    agent.asked().await;
    let socket = agent.socket();
    drop(agent.mailbox);
    let reply = Reply::parse(&read_all(&mut stream).await);
    assert_eq!(
        (reply.status, reply.json()["title"].as_str()),
        (503, Some("The agent is stopping."))
    );
    agent.served.await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test(start_paused = true)]
async fn requests_can_be_a_source_of_the_bus() {
    use futures_util::StreamExt;
    let dir = tempfile::tempdir().unwrap();
    let mut api = LocalApi::bind(settings(dir.path()), Arc::new(FakeVault::default())).unwrap();
    let mut requests = std::pin::pin!(api.requests());
    let (_mailbox, effects) = mpsc::channel(1);
    let (events, _never) = mpsc::channel(1);
    tokio::spawn(api.serve(effects, events));
    let token = std::fs::read_to_string(dir.path().join("run/token")).unwrap();
    let mut stream = UnixStream::connect(dir.path().join("run/api.sock"))
        .await
        .unwrap();
    let text = format!(
        "GET /v1/doctor HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let event = requests.next().await.unwrap();
    assert!(matches!(
        event,
        Event::LocalRequested {
            call: LocalCall::Doctor,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn no_token_is_logged_at_trace_level() {
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let out = sink.clone();
    // Without the redaction of the log: this is about what is logged at all.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || out.clone());
    let _logging = tracing::subscriber::set_default(subscriber.finish());

    let mut agent = Agent::start();
    let (join, local) = (join_token(), agent.token());
    let body = format!(r#"{{"joinToken":"{}"}}"#, join.expose());
    let request = agent.request("POST /v1/join", "Content-Type: application/json\r\n", &body);
    agent
        .exchange(request, LocalAnswer::Joining(CloudlyStatus::default()))
        .await;
    agent
        .json_call("POST /v1/join", &body.replace("szj_", "szn_"))
        .await;
    agent.json_call("POST /v1/update/defer", &body).await;
    agent
        .raw(
            &agent
                .request("GET /metrics", "", "")
                .replace("Bearer szl", "Bearer szj"),
        )
        .await;
    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("refused a local request"), "{log}");
    assert!(
        !log.contains(&join.expose()[15..]) && !log.contains(&local[15..]),
        "{log}"
    );
}
