//! What prevents a start.

use crate::support::{Cloudly, Engine, connect, start_time};
use cloudly_baseos::{Clock, Database};

pub(crate) async fn start_error(cloudly: &Cloudly, url: &str) -> String {
    let mut settings = Cloudly::settings(Database::parse(url).unwrap());
    settings.pepper_file = Some(cloudly.dir.path().join("token-pepper"));
    settings.admin_token_file = Some(cloudly.dir.path().join("admin-token"));
    let bound = Cloudly::bind(settings, Clock::manual(start_time())).await;
    bound.err().expect("it must not start").to_string()
}

async fn run(cloudly: &Cloudly, statement: &'static str) {
    let mut database = connect(&cloudly.database_url).await;
    sqlx::raw_sql(statement).execute(&mut database).await.unwrap();
}

#[tokio::test]
async fn refuses_a_database_that_another_server_uses() {
    let mut cloudly = Cloudly::start(Engine::Postgres).await;
    let error = start_error(&cloudly, &cloudly.database_url).await;
    assert!(error.contains("another cloudly already uses"), "{error}");
    cloudly.restart().await;
}

#[tokio::test]
async fn refuses_a_database_of_another_program() {
    let mut cloudly = Cloudly::start(Engine::Postgres).await;
    cloudly.stop().await;
    run(&cloudly, "DROP TABLE cloudly_schema").await;
    let error = start_error(&cloudly, &cloudly.database_url).await;
    assert!(error.contains("is not a database of Cloudly"), "{error}");
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let mut cloudly = Cloudly::start(Engine::Postgres).await;
    cloudly.stop().await;
    run(&cloudly, "INSERT INTO cloudly_schema VALUES (99, 0)").await;
    let error = start_error(&cloudly, &cloudly.database_url).await;
    assert!(error.contains("run a newer cloudly"), "{error}");
}

#[tokio::test]
async fn names_the_database_that_does_not_exist_and_no_password() {
    let cloudly = Cloudly::start(Engine::Postgres).await;
    let url = cloudly.database_url.replace("cloudly@", "cloudly:secret@");
    let url = url.replace("/cloudly_", "/missing_");
    let error = start_error(&cloudly, &url).await;
    assert!(
        error.contains("the database postgres://cloudly@localhost/missing_")
            && error.contains("does not exist"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
