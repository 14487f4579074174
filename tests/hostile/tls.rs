//! Somebody else in Cloudly's place: no token leaves the agent, it says what is wrong, and finds Cloudly again.

use crate::support::agent::AgentProcess;
use crate::support::scripted_server::ScriptedServer;
use crate::support::tls_front::{Certificate, TlsFront};
use baseos_simulator::harness::{Error, Result, run_cases};

/// What is wrong with a certificate, and the words for it.
const WRONG: [(Certificate, &str); 4] = [
    (Certificate::OfAnotherAuthority, "BASEOS_CLOUDLY_CA"),
    (Certificate::ForAnotherName, "another name"),
    (Certificate::Expired, "expired"),
    (Certificate::NotYetValid, "not yet valid"),
];

/// Waits until the agent says why it does not talk to Cloudly.
async fn wait_refusal(agent: &AgentProcess, words: &str) -> Result<()> {
    agent
        .wait(words, |status| {
            let error = status.cloudly.error.as_deref().unwrap_or_default();
            error.contains(words) || status.summary.contains(words)
        })
        .await?;
    let doctor = agent.run_command(&["doctor"]).await;
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    if doctor.status.code() != Some(1) || !text.contains(words) {
        return Err(Error::new(format!("`{words}` is not in: {text}")));
    }
    Ok(())
}

async fn impostor(certificate: Certificate, words: &str) -> Result<()> {
    let (cloudly, other) = (ScriptedServer::start().await, ScriptedServer::start().await);
    let front = TlsFront::before(cloudly.address()).await;
    let wrong = front.with_another_certificate(other.address(), certificate).await;
    let mut agent = AgentProcess::new()
        .with_cloudly(&wrong.url(), &cloudly.join_token)
        .with("BASEOS_CLOUDLY_CA", &front.ca_pem());
    // Before it is enrolled, and after.
    for _ in 0..2 {
        agent.env.insert("BASEOS_CLOUDLY_URL".to_owned(), wrong.url());
        agent.start().await;
        wait_refusal(&agent, words).await?;
        agent.check_health().await?;
        agent.kill().await;
        agent.env.insert("BASEOS_CLOUDLY_URL".to_owned(), front.url());
        agent.start().await;
        agent.wait_connected().await?;
        agent.kill().await;
    }
    if other.connections() > 0 {
        return Err(Error::new("a request was sent"));
    }
    let registered = cloudly.registrations().len();
    if registered != 1 {
        return Err(Error::new(format!("it registered {registered} times")));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_with_a_wrong_certificate_gets_no_token_and_is_named() {
    let cases = WRONG.map(|(certificate, words)| (words, impostor(certificate, words)));
    run_cases(cases).await.unwrap();
}
