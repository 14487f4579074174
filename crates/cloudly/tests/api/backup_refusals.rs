//! Backups that are not restored. Nothing is changed then.

use crate::each_engine;
use crate::support::{Cloudly, Engine, connect, restore_into, sealed, sum, write_secret};
use cloudly_baseos::maintenance::{self, Restore};
use cloudly_baseos::{Clock, Database};
use rstest_reuse::apply;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

async fn refused(restore: &Restore) -> String {
    let now = crate::support::start_time();
    maintenance::restore(restore, now).await.unwrap_err().to_string()
}

/// Each file with a hash of what is in it, but for those that connections leave when they are closed.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), file.path()))
        .filter(|(name, _)| ![".lock", "-wal", "-shm"].iter().any(|end| name.ends_with(end)))
        .map(|(name, path)| (name, sum(&std::fs::read(path).unwrap())))
        .collect()
}

#[apply(each_engine)]
#[tokio::test]
async fn a_file_that_is_no_whole_backup_of_a_known_form_is_refused(engine: Engine) {
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    cloudly.enrol("edge").await;
    let whole = std::fs::read_to_string(cloudly.back_up("backup").await).unwrap();
    let (body, end) = whole.trim_end().rsplit_once('\n').unwrap();
    let body = format!("{body}\n");
    let rows = serde_json::from_str::<serde_json::Value>(end).unwrap()["rows"].clone();
    let first_row = body.find("\n[").unwrap() + 1;
    let row_end = first_row + body[first_row..].find('\n').unwrap() + 1;
    let without_a_row = format!("{}{}", &body[..first_row], &body[row_end..]);
    let newer = body.replacen(
        "\"cloudlyBackup\":1,\"program\":\"0.1.0\"",
        "\"cloudlyBackup\":2,\"program\":\"7.0.0\"",
        1,
    );
    let schema = body.replacen("\"schema\":4", "\"schema\":99", 1);
    let table = body.replacen("\"table\":\"nodes\"", "\"table\":\"boats\"", 1);
    let mut boats = rows.clone();
    boats["boats"] = boats["nodes"].take();
    boats.as_object_mut().unwrap().remove("nodes");
    let text = body.replacen(",\"edge\",", ",17,", 1);

    let dir = TempDir::new().unwrap();
    let url = engine.new_database(dir.path()).await;
    let file = dir.path().join("file");
    for (content, says) in [
        (String::new(), "its end is missing"),
        ("PGDMP\n".to_owned(), "is not a backup of Cloudly"),
        (
            whole[..whole.len() - 1].to_owned(),
            "is damaged (its end is missing)",
        ),
        (body.clone(), "is damaged (its end is missing)"),
        (
            whole.replacen("edge", "edgy", 1),
            "is damaged (its checksum does not match)",
        ),
        (format!("{whole}\n"), "is damaged (something follows its end)"),
        (sealed(&without_a_row, &rows), "is damaged (rows are missing)"),
        (sealed(&newer, &rows), "restore it with cloudly 7.0.0 or newer"),
        (sealed(&schema, &rows), "has schema 99, and this cloudly knows"),
        (sealed(&table, &boats), "the table boats is not the same"),
        (sealed(&text, &rows), "nodes.name holds a value of another type"),
    ] {
        std::fs::remove_file(&file).ok();
        write_secret(&file, &content);
        let before = files(dir.path());
        let error = refused(&restore_into(&file, &url, dir.path())).await;
        assert!(error.contains(says), "{says}: {error}");
        assert!(
            error.contains("boats")
                || error.contains("nodes.name")
                || error.contains(&*file.to_string_lossy()),
            "{error}"
        );
        assert_eq!(files(dir.path()), before, "{says}");
    }
    // The database is as empty as before.
    std::fs::remove_file(&file).unwrap();
    write_secret(&file, &whole);
    let restore = restore_into(&file, &url, dir.path());
    maintenance::restore(&restore, crate::support::start_time())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_backup_that_others_may_read_is_refused_with_what_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    let backup = cloudly.back_up("backup").await;
    std::fs::set_permissions(&backup, std::fs::Permissions::from_mode(0o644)).unwrap();
    let dir = TempDir::new().unwrap();
    let url = Engine::Sqlite.new_database(dir.path()).await;
    let error = refused(&restore_into(&backup, &url, dir.path())).await;
    assert!(
        error.contains(&format!("`chmod 600 {}`", backup.display())),
        "{error}"
    );
}

#[apply(each_engine)]
#[tokio::test]
async fn a_database_that_is_used_or_not_empty_or_anothers_is_not_replaced(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let backup = cloudly.back_up("backup").await;
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    let mut restore = restore_into(&backup, &cloudly.database_url, cloudly.dir.path());
    restore.replace = true;
    let error = refused(&restore).await;
    assert!(
        error.contains("another cloudly already uses the database"),
        "{error}"
    );
    cloudly.stop().await;
    restore.replace = false;
    let before = files(cloudly.dir.path());
    let error = refused(&restore).await;
    assert!(
        error.contains("is not empty") && error.contains("--replace"),
        "{error}"
    );
    restore.replace = true;
    restore.dry_run = true;
    maintenance::restore(&restore, cloudly.clock.now()).await.unwrap();
    assert_eq!(files(cloudly.dir.path()), before);
    cloudly.start_again().await;
    device.heartbeat(&cloudly).await;

    let dir = TempDir::new().unwrap();
    let url = engine.new_database(dir.path()).await;
    if let Engine::Postgres = engine {
        let mut database = connect(&url).await;
        sqlx::raw_sql("CREATE TABLE recipes (id BIGINT)")
            .execute(&mut database)
            .await
            .unwrap();
        restore.database = Database::parse(&url).unwrap();
        let error = refused(&restore).await;
        assert!(error.contains("is not a database of Cloudly"), "{error}");
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn a_backup_in_which_something_is_wrong_is_restored_only_when_told(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let device = cloudly.enrol("edge").await;
    let mut database = connect(&cloudly.database_url).await;
    sqlx::raw_sql("UPDATE node_tokens SET node_id = 'node_gone'")
        .execute(&mut database)
        .await
        .unwrap();
    let backup = cloudly.back_up("backup").await;
    let dir = TempDir::new().unwrap();
    let url = engine.new_database(dir.path()).await;
    let mut restore = restore_into(&backup, &url, dir.path());
    let error = refused(&restore).await;
    assert!(
        error.contains("node tokens of nodes that do not exist (1, e.g."),
        "{error}"
    );
    assert!(error.contains("--accept-findings"), "{error}");
    assert!(files(dir.path()).is_empty());
    restore.accept_findings = true;
    let restored = maintenance::restore(&restore, cloudly.clock.now()).await.unwrap();
    assert_eq!(restored.findings.len(), 1);
    let copy = Cloudly::bind(
        {
            let mut settings = Cloudly::settings(Database::parse(&url).unwrap());
            settings.pepper_file = Some(restore.pepper_file);
            settings.admin_token_file = Some(dir.path().join("admin-token"));
            settings
        },
        Clock::manual(cloudly.clock.now()),
    );
    assert!(copy.await.is_ok());
    drop(device);
}
