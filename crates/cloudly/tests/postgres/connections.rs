//! Connections that end while the server runs.

use crate::support::{COMMIT, Cloudly, connect, status};
use serde_json::Value;

#[tokio::test]
async fn the_server_goes_on_after_all_its_connections_were_cut() {
    let cloudly = Cloudly::start().await;
    let mut device = cloudly.enrol("edge").await;
    device.report(&cloudly, status("idle", None, None)).await;
    let mut database = connect(&cloudly.database_url).await;
    // As at a restart of the database.
    sqlx::query(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(&mut database)
    .await
    .unwrap();
    device.report(&cloudly, status("idle", None, Some(COMMIT))).await;
    cloudly.set_target(COMMIT).await;
    let health = cloudly.http.get(format!("{}/healthz", cloudly.url)).send().await;
    assert_eq!(health.unwrap().status(), 200);
    let nodes: Value = cloudly.get("nodes").await;
    assert_eq!(nodes["items"][0]["status"]["release"]["running"], COMMIT);
}
