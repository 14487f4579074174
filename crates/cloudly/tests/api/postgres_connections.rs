//! Connections that end while the server runs.

use crate::postgres_start::start_error;
use crate::support::{COMMIT, Cloudly, Engine, connect, status};
use serde_json::Value;

async fn cut(cloudly: &Cloudly) {
    cut_all_but(&mut connect(&cloudly.database_url).await).await;
}

/// As at a restart of the database.
async fn cut_all_but(database: &mut sqlx::AnyConnection) {
    sqlx::query(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(database)
    .await
    .unwrap();
}

async fn health(cloudly: &Cloudly) -> u16 {
    let answer = cloudly.http.get(format!("{}/readyz", cloudly.url)).send().await;
    answer.unwrap().status().as_u16()
}

/// Whether the process answers, whatever its database does.
async fn lives(cloudly: &Cloudly) -> bool {
    let answer = cloudly.http.get(format!("{}/healthz", cloudly.url)).send().await;
    answer.unwrap().status() == 200
}

#[tokio::test]
async fn the_server_goes_on_after_all_its_connections_were_cut() {
    let cloudly = Cloudly::start(Engine::Postgres).await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    cut(&cloudly).await;
    device.report(&cloudly, status("idle", None, Some(COMMIT))).await;
    cloudly.set_target(COMMIT).await;
    assert_eq!(health(&cloudly).await, 200);
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(nodes["items"][0]["status"]["release"]["running"], COMMIT);
}

#[tokio::test]
async fn a_second_server_is_refused_also_after_the_connections_were_cut() {
    let cloudly = Cloudly::start(Engine::Postgres).await;
    cut(&cloudly).await;
    assert_eq!(health(&cloudly).await, 200);
    let error = start_error(&cloudly, &cloudly.database_url).await;
    assert!(error.contains("another cloudly already uses"), "{error}");
}

#[tokio::test]
async fn what_the_database_lost_meanwhile_is_not_in_memory_any_more() {
    let cloudly = Cloudly::start(Engine::Postgres).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    device.heartbeat(&cloudly).await;
    // Another server took over, without the last changes.
    let mut database = connect(&cloudly.database_url).await;
    sqlx::query("UPDATE nodes SET lifecycle = 'suspended'")
        .execute(&mut database)
        .await
        .unwrap();
    cut(&cloudly).await;
    assert_eq!(health(&cloudly).await, 200);
    assert_eq!(device.refused(&cloudly).await.status, 403);
}

#[tokio::test]
async fn a_server_whose_lock_another_one_has_is_not_healthy() {
    let cloudly = Cloudly::start(Engine::Postgres).await;
    let mut other = connect(&cloudly.database_url).await;
    cut_all_but(&mut other).await;
    // As a server takes it at its start.
    sqlx::raw_sql("SELECT pg_advisory_lock(7164223657226303745)")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(health(&cloudly).await, 503);
    assert!(lives(&cloudly).await);
    drop(other);
    assert_eq!(health(&cloudly).await, 200);
}
