//! What prevents a start.

use crate::support::{Cloudly, Engine, start_time, write_secret};
use cloudly_baseos::{Clock, Settings};
use sqlx::{Connection as _, SqliteConnection};
use std::path::Path;
use tempfile::TempDir;

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap()
}

async fn start_error(database: &Path) -> String {
    let bound = Cloudly::bind(Cloudly::settings(database), Clock::manual(start_time())).await;
    bound.err().expect("it must not start").to_string()
}

#[tokio::test]
async fn refuses_a_file_that_is_no_database() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cloudly.db");
    std::fs::write(
        &path,
        "this is a text, and longer than the header of a database. ".repeat(40),
    )
    .unwrap();
    assert!(start_error(&path).await.contains("is not a database of Cloudly"));
}

#[tokio::test]
async fn refuses_a_database_of_another_program() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cloudly.db");
    std::fs::write(&path, "").unwrap();
    let mut database = open(&path).await;
    sqlx::raw_sql("CREATE TABLE recipes (id INTEGER)")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    assert!(start_error(&path).await.contains("is not a database of Cloudly"));
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    cloudly.stop().await;
    let mut database = open(&cloudly.database()).await;
    sqlx::raw_sql("INSERT INTO cloudly_schema VALUES (99, 0)")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    assert!(
        start_error(&cloudly.database())
            .await
            .contains("run a newer cloudly")
    );
}

#[tokio::test]
async fn names_a_missing_directory() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("nowhere/cloudly.db");
    let error = start_error(&path).await;
    assert!(
        error.contains("nowhere/cloudly.db") && error.contains("make the directory first"),
        "{error}"
    );
    assert!(
        start_error(dir.path()).await.contains("directory"),
        "a directory in the file's place"
    );
}

#[tokio::test]
async fn a_missing_or_different_pepper_prevents_the_start() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    cloudly.stop().await;
    let pepper = cloudly.dir.path().join("token-pepper");
    let kept = std::fs::read_to_string(&pepper).unwrap();
    std::fs::remove_file(&pepper).unwrap();
    let error = start_error(&cloudly.database()).await;
    assert!(
        error.contains("is missing") && error.contains("restore it from the backup"),
        "{error}"
    );
    assert!(!pepper.exists());
    write_secret(&pepper, &"0".repeat(64));
    let error = start_error(&cloudly.database()).await;
    assert!(
        error.contains("is not the one this database was made with"),
        "{error}"
    );
    write_secret(&pepper, "salt");
    assert!(
        start_error(&cloudly.database())
            .await
            .contains("is not a token pepper")
    );
    std::fs::write(&pepper, kept).unwrap();
    cloudly.start_again().await;
}

#[tokio::test]
async fn refuses_a_database_that_another_server_uses() {
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    assert!(
        start_error(&cloudly.database())
            .await
            .contains("another cloudly already uses")
    );
}

#[tokio::test]
async fn names_an_address_in_use() {
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    let dir = TempDir::new().unwrap();
    let mut settings = Settings::new(dir.path().join("cloudly.db"));
    settings.listen = cloudly.url.trim_start_matches("http://").to_owned();
    let error = Cloudly::bind(settings, Clock::system())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("cannot listen on 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_refused_with_what_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    cloudly.stop().await;
    let set_mode = |file: &str, mode| {
        let path = cloudly.dir.path().join(file);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in ["token-pepper", "admin-token"] {
        for mode in [0o644, 0o620, 0o601] {
            set_mode(file, mode);
            let error = start_error(&cloudly.database()).await;
            let path = cloudly.dir.path().join(file);
            assert!(error.contains(&format!("(mode {mode:03o})")), "{error}");
            assert!(
                error.contains(&format!("`chmod 600 {}`", path.display())),
                "{error}"
            );
        }
        set_mode(file, 0o440);
    }
    cloudly.start_again().await;
}
