use super::*;
use crate::adapters::local_api::guard::REQUEST_WITHIN;
use baseos_interfaces::limits::LOCAL_MAX_BYTES;

#[track_caller]
fn assert_problem(agent: &Agent, reply: &Reply, status: u16, code: &str) {
    let problem = reply.json();
    assert_eq!(
        (reply.status, problem["code"].as_str()),
        (status, Some(code)),
        "{reply:?}"
    );
    assert_eq!(problem["status"], status);
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(problem["requestId"], reply.headers["x-request-id"].as_str());
    assert!(!reply.body.contains(&agent.token()[15..]), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn health_needs_no_token_and_contains_only_a_status() {
    let agent = Agent::start();
    let reply = agent
        .raw("GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"ok"}"#));
    assert!(reply.headers["x-request-id"].starts_with("req_"));
    let posted = agent
        .raw("POST /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_problem(&agent, &posted, 401, "localTokenInvalid");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_host_header_is_refused() {
    let agent = Agent::start();
    let health = |host: &str| format!("GET /v1/health HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    for right in [
        "localhost",
        "baserunner",
        "BaseRunner:80",
        "127.0.0.1",
        "127.0.0.1:9",
        "[::1]:9",
        "edge.example",
    ] {
        let reply = agent.raw(&health(&format!("Host: {right}\r\n"))).await;
        assert_eq!(reply.status, 200, "{right}");
    }
    for wrong in [
        "",
        "Host: \r\n",
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: localhost:x\r\n",
        "Host: 127.0.0.2\r\n",
        "Host: evil.example:127.0.0.1\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
    ] {
        let reply = agent.raw(&health(wrong)).await;
        assert_problem(&agent, &reply, 421, "misdirectedRequest");
    }
    let absolute =
        "GET http://evil.example/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_problem(&agent, &agent.raw(absolute).await, 421, "misdirectedRequest");
}

#[tokio::test(start_paused = true)]
async fn requests_of_browsers_are_refused_even_with_a_token() {
    let agent = Agent::start();
    for header in [
        "Origin: http://localhost",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none",
    ] {
        let reply = agent.call("GET /metrics", &format!("{header}\r\n"), "").await;
        assert_problem(&agent, &reply, 403, "forbidden");
        assert!(
            !reply
                .headers
                .keys()
                .any(|name| name.starts_with("access-control"))
        );
        let bare =
            format!("GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n");
        assert_problem(&agent, &agent.raw(&bare).await, 403, "forbidden");
    }
}

#[tokio::test(start_paused = true)]
async fn all_other_calls_need_the_current_token() {
    let agent = Agent::start();
    let token = agent.token();
    let mut wrong = token.clone().into_bytes();
    wrong[20] = if wrong[20] == b'x' { b'y' } else { b'x' };
    let wrong = String::from_utf8(wrong).unwrap();
    for given in [
        "",
        "Bearer",
        "Bearer ",
        &token,
        &format!("Basic {token}"),
        &format!("Bearer {wrong}"),
        &format!("Bearer {token}x"),
    ] {
        for path in ["/v1/status", "/metrics", "/v1/events", "/no/such/call"] {
            let authorization = if given.is_empty() {
                String::new()
            } else {
                format!("Authorization: {given}\r\n")
            };
            let text =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n");
            let reply = agent.raw(&text).await;
            assert_problem(&agent, &reply, 401, "localTokenInvalid");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
        }
    }
    let lower = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: bearer {token}\r\n\r\n"
    );
    assert_eq!(agent.raw(&lower).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_or_method_is_answered_with_a_problem() {
    let agent = Agent::start();
    assert_problem(
        &agent,
        &agent.call("GET /v2/status", "", "").await,
        404,
        "notFound",
    );
    let reply = agent.call("POST /v1/status", "", "").await;
    assert_problem(&agent, &reply, 405, "methodNotAllowed");
    assert_eq!(reply.headers["allow"], "GET,HEAD");
}

#[tokio::test(start_paused = true)]
async fn a_body_must_be_json() {
    let agent = Agent::start();
    let body = r#"{"reason":"backup","ttlSeconds":60}"#;
    for media_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
    ] {
        let reply = agent.call("PUT /v1/locks/backup", media_type, body).await;
        assert_problem(&agent, &reply, 415, "unsupportedMediaType");
    }
    // A call that takes no body takes no form of a page either.
    let form = agent
        .call(
            "POST /v1/update/check",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "a=b",
        )
        .await;
    assert_problem(&agent, &form, 415, "unsupportedMediaType");
    assert_eq!(agent.pending.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_refused_with_and_without_a_length() {
    let agent = Agent::start();
    let declared = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        LOCAL_MAX_BYTES + 1
    );
    let reply = agent.call("PUT /v1/locks/backup", &declared, "").await;
    assert_problem(&agent, &reply, 413, "payloadTooLarge");
    let chunk = "x".repeat(LOCAL_MAX_BYTES + 1);
    let headers = format!(
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}",
        chunk.len()
    );
    let text = agent.request("PUT /v1/locks/backup", &headers, "");
    assert_problem(&agent, &agent.raw(&text).await, 413, "payloadTooLarge");
    let largest = format!("\"{}\"", "x".repeat(LOCAL_MAX_BYTES - 2));
    let reply = agent.json_call("PUT /v1/locks/backup", &largest).await;
    assert_problem(&agent, &reply, 422, "invalidRequest");
}

#[tokio::test(start_paused = true)]
async fn each_wrong_member_of_a_body_is_named() {
    let agent = Agent::start();
    let reply = agent
        .json_call("PUT /v1/locks/backup", r#"{"reason":1,"ttlSeconds":0,"x":2}"#)
        .await;
    assert_problem(&agent, &reply, 422, "invalidRequest");
    let errors = reply.json()["errors"].to_string();
    let wanted = r#"[{"code":"invalidValue","pointer":"/reason"},{"code":"outOfRange","pointer":"/ttlSeconds"},{"code":"unknownMember","pointer":"/x"}]"#;
    assert_eq!(errors, wanted);
    for broken in ["{", "[]", "", "\u{0}"] {
        let reply = agent.json_call("POST /v1/update/defer", broken).await;
        assert_problem(&agent, &reply, 422, "invalidRequest");
    }
}

#[tokio::test(start_paused = true)]
async fn lock_names_are_short_and_plain() {
    let agent = Agent::start();
    let long = "x".repeat(65);
    for name in ["Backup", "a%20b", "%ff", "..%2f..", "%C3%A4", &long] {
        for method in ["PUT", "DELETE"] {
            let reply = agent
                .json_call(
                    &format!("{method} /v1/locks/{name}"),
                    r#"{"reason":"r","ttlSeconds":1}"#,
                )
                .await;
            assert_problem(&agent, &reply, 422, "invalidRequest");
            assert_eq!(reply.json()["errors"][0]["pointer"], "/name");
        }
    }
    assert_problem(
        &agent,
        &agent.call("DELETE /v1/locks/", "", "").await,
        404,
        "notFound",
    );
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_times_out() {
    let agent = Agent::start();
    let headers = "Content-Type: application/json\r\nContent-Length: 10\r\n";
    let request = agent.request("PUT /v1/locks/backup", headers, "");
    let mut call = std::pin::pin!(agent.raw(&request));
    let early = REQUEST_WITHIN - Duration::from_secs(1);
    assert!(tokio::time::timeout(early, call.as_mut()).await.is_err());
    let reply = call.await;
    assert_problem(&agent, &reply, 503, "unavailable");
    assert_eq!(reply.json()["retryable"], true);
}

#[tokio::test(start_paused = true)]
async fn a_large_head_is_refused() {
    let agent = Agent::start();
    let reply = agent
        .call(
            "GET /metrics",
            &format!("X-Large: {}\r\n", "x".repeat(32 * 1024)),
            "",
        )
        .await;
    assert_eq!(reply.status, 431);
}
