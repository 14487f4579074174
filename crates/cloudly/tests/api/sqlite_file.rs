//! What is in the file of an SQLite database, and who may read it.

use crate::support::{Cloudly, Engine};
use serde_json::json;

#[tokio::test]
async fn the_database_has_only_hashes_of_tokens() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    let join = cloudly.join_token(json!({})).await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    let next = device.heartbeat(&cloudly).await.credentials.unwrap();
    let admin = cloudly.admin_token.clone();
    cloudly.stop().await;
    let bytes = std::fs::read(cloudly.database()).unwrap();
    for token in [&join, &device.token, next.node_token.expose(), &admin] {
        let secret = &token.as_bytes()[15..58];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_secrets_and_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    for name in ["admin-token", "token-pepper", "cloudly.db", "cloudly.db-wal"] {
        let mode = std::fs::metadata(cloudly.dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn after_a_clean_stop_the_database_is_whole_in_one_file() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    let token = cloudly.join_token(json!({})).await;
    cloudly.stop().await;
    let log = cloudly.database().with_extension("db-wal");
    let left = std::fs::metadata(&log).map_or(0, |log| log.len());
    assert_eq!(left, 0, "{}", log.display());
    let dir = tempfile::tempdir().unwrap();
    for file in ["cloudly.db", "token-pepper", "admin-token"] {
        std::fs::copy(cloudly.dir.path().join(file), dir.path().join(file)).unwrap();
    }
    let url = format!("sqlite:{}", dir.path().join("cloudly.db").display());
    let copy = Cloudly::start_on(dir, url, |_| {}).await;
    assert_eq!(copy.register(&token, "reg-1").await.status(), 201);
}
