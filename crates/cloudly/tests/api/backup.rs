//! Backups of a server that goes on, and databases that are made of them.

use crate::each_engine;
use crate::support::{
    COMMIT, Cloudly, Device, Engine, OTHER_COMMIT, backup_of, ok, restore_into, rows, sealed, status,
    write_secret,
};
use baseos_interfaces::admin::{CommandRecord, EventRecord, NodeRecord};
use cloudly_baseos::maintenance::{self, RestoredTable};
use rstest_reuse::apply;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// A server with rows in every table, and a node whose rotation has begun.
async fn filled(engine: Engine) -> (Cloudly, Device, String) {
    let mut cloudly = Cloudly::start(engine).await;
    let open = cloudly.join_token(json!({ "maxUses": 5, "fleet": "edge" })).await;
    let mut device = cloudly.enrol_with(&open, "edge").await;
    cloudly.enrol_with(&open, "not heard yet").await;
    let event = json!({ "id": "e_1", "at": "2026-11-23T12:00:00Z", "type": "transition", "data": { "to": "\u{0}\u{fffd}\"" } });
    cloudly.create_release(OTHER_COMMIT).await;
    cloudly.set_target(COMMIT).await;
    device
        .heartbeat_with(&cloudly, json!({ "events": [event] }))
        .await;
    device
        .report(&cloudly, status("idle", None, Some(OTHER_COMMIT)))
        .await;
    let _: Value = cloudly
        .put(
            &format!("nodes/{}/desired", device.id),
            json!({ "commit": OTHER_COMMIT }),
        )
        .await;
    replacement(&cloudly).await;
    cloudly.command(&device, json!({ "type": "rotateToken" })).await;
    let next = device.rotated_token(&cloudly).await;
    // It writes what it has in memory.
    cloudly.restart().await;
    (cloudly, device, next)
}

/// A new device for a known node, which was not heard yet.
async fn replacement(cloudly: &Cloudly) {
    let facts = json!({ "name": "box", "agentVersion": "0.1.0", "hardwareId": "sha256:1" });
    let first = cloudly.join_token(json!({})).await;
    let answer = cloudly.register_as(&first, "registration", facts.clone()).await;
    Device::new(ok(answer).await).heartbeat(cloudly).await;
    let second = cloudly.join_token(json!({ "allowReplace": true })).await;
    let answer = cloudly.register_as(&second, "registration", facts).await;
    assert_eq!(answer.status(), 201);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_restored_database_has_every_row_on_either_engine(
    engine: Engine,
    #[values(Engine::Sqlite, Engine::Postgres)] to: Engine,
) {
    let (cloudly, mut device, next) = filled(engine).await;
    let backup = cloudly.back_up("backup").await;
    let before = rows(&backup);
    let empty: Vec<_> = before.iter().filter(|(_, rows)| rows.is_empty()).collect();
    assert!(empty.is_empty(), "{empty:?}");

    let dir = TempDir::new().unwrap();
    let url = to.new_database(dir.path()).await;
    let restore = restore_into(&backup, &url, dir.path());
    let restored = maintenance::restore(&restore, cloudly.clock.now()).await.unwrap();
    let expected = before.iter().map(|(name, rows)| RestoredTable {
        name: name.clone(),
        in_backup: rows.len() as u64,
        in_database: rows.len() as u64,
    });
    assert_eq!(restored.tables, expected.collect::<Vec<_>>());
    assert_eq!(
        (restored.findings.len(), restored.wrote_pepper, restored.kept),
        (0, true, None)
    );

    let copy = Cloudly::start_on(dir, url, |_| {}).await;
    let mut after = rows(&copy.back_up("again").await);
    let audit = after.get_mut("audit").unwrap();
    let restored = audit
        .iter()
        .position(|line| line["action"] == "database.restored");
    audit.remove(restored.unwrap());
    let raised = before["counters"][0]["value"].as_i64().unwrap() + 1_000_000;
    assert_eq!(after["counters"][0]["value"], raised);
    for (table, rows) in &before {
        if table != "counters" {
            assert_eq!(after[table], *rows, "{table}");
        }
    }
    // It is used, and the numbers of new rows go on.
    device.token = next;
    let instructions = device.heartbeat(&copy).await.instructions;
    assert_eq!(
        (instructions.commands.len(), instructions.resend_full_status),
        (0, false)
    );
    copy.command(&device, json!({ "type": "checkNow" })).await;
    let path = format!("nodes/{}", device.id);
    assert_eq!(
        copy.list::<CommandRecord>(&format!("{path}/commands"), 10)
            .await
            .len(),
        2
    );
    let event = json!({ "id": "e_2", "at": "2026-11-23T12:00:00Z", "type": "transition", "data": {} });
    device.heartbeat_with(&copy, json!({ "events": [event] })).await;
    assert_eq!(
        copy.list::<EventRecord>(&format!("{path}/events"), 10)
            .await
            .len(),
        2
    );
    copy.create_release("0badc0de").await;
    assert_eq!(copy.audit().await[0].0, "release.created");
}

#[apply(each_engine)]
#[tokio::test]
async fn a_backup_is_of_one_moment_while_nodes_enrol_and_report(engine: Engine) {
    let cloudly = Cloudly::start_with(engine, |settings| settings.node_rate.burst = 100_000).await;
    let token = cloudly.join_token(json!({ "maxUses": 100_000 })).await;
    let stop = Arc::new(AtomicBool::new(false));
    let enrol = async |worker: usize| {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            let mut device = cloudly.enrol_with(&token, &format!("{worker}-{count}")).await;
            device.report(&cloudly, status("idle", None, None)).await;
        }
        count
    };
    let back_up = async {
        let mut nodes = Vec::new();
        for number in 0..8 {
            let backup = cloudly.back_up(&format!("backup-{number}")).await;
            let (dir, rows) = (TempDir::new().unwrap(), rows(&backup));
            // Registrations take a use, a node and a token at once: half of one would be found.
            let url = Engine::Sqlite.new_database(dir.path()).await;
            let restore = restore_into(&backup, &url, dir.path());
            let restored = maintenance::restore(&restore, cloudly.clock.now()).await;
            assert_eq!(restored.unwrap().findings, []);
            assert_eq!(rows["nodes"].len(), rows["node_tokens"].len());
            assert_eq!(rows["join_tokens"][0]["uses"], rows["nodes"].len());
            nodes.push(rows["nodes"].len());
        }
        stop.store(true, Ordering::Relaxed);
        nodes
    };
    let (nodes, first, second) = tokio::join!(back_up, enrol(1), enrol(2));
    assert!(
        nodes.is_sorted() && nodes[0] < nodes[7],
        "nodes went on enrolling: {nodes:?}"
    );
    assert!(nodes[7] <= first + second);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_backup_is_its_owners_alone_and_takes_no_other_files_place(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut backup = backup_of(&cloudly, "backup");
    let take = async |backup: &maintenance::Backup| maintenance::take(backup, cloudly.clock.now()).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let taken = take(&backup).await.unwrap();
    let text = std::fs::read_to_string(&backup.to).unwrap();
    assert_eq!((mode(&backup.to), taken.bytes), (0o600, text.len() as u64));
    let refused = take(&backup).await.unwrap_err().to_string();
    assert!(
        refused.contains("exists already: name another file, or say --overwrite"),
        "{refused}"
    );
    assert_eq!(std::fs::read_to_string(&backup.to).unwrap(), text);
    cloudly.enrol("edge").await;
    backup.overwrite = true;
    take(&backup).await.unwrap();
    assert_eq!(rows(&backup.to)["nodes"].len(), 1);
    assert_eq!(
        names(cloudly.dir.path(), "backup"),
        ["backup"],
        "nothing else is left"
    );
}

/// The files whose names begin like this.
fn names(dir: &Path, begin: &str) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_has_the_right_pepper_or_says_that_it_has_none() {
    let cloudly = Cloudly::start(Engine::Sqlite).await;
    let mut device = cloudly.enrol("edge").await;
    let mut backup = backup_of(&cloudly, "backup");
    let now = cloudly.clock.now();
    backup.pepper_file = Some(cloudly.dir.path().join("nowhere"));
    let refused = maintenance::take(&backup, now).await.unwrap_err().to_string();
    assert!(
        refused.contains("--token-pepper-file") && refused.contains("--without-pepper"),
        "{refused}"
    );
    let other = cloudly.dir.path().join("other");
    write_secret(&other, &"0".repeat(64));
    backup.pepper_file = Some(other.clone());
    let refused = maintenance::take(&backup, now).await.unwrap_err().to_string();
    assert!(
        refused.contains("is not the one this database was made with"),
        "{refused}"
    );
    assert_eq!(names(cloudly.dir.path(), "backup"), [""; 0]);

    backup.pepper_file = None;
    assert!(!maintenance::take(&backup, now).await.unwrap().with_pepper);
    let pepper = std::fs::read_to_string(cloudly.dir.path().join("token-pepper")).unwrap();
    let text = std::fs::read_to_string(&backup.to).unwrap();
    assert!(!text.contains(pepper.trim()));
    let dir = TempDir::new().unwrap();
    let url = Engine::Sqlite.new_database(dir.path()).await;
    let restore = restore_into(&backup.to, &url, dir.path());
    let refused = maintenance::restore(&restore, now).await.unwrap_err().to_string();
    assert!(refused.contains("the backup is without its pepper"), "{refused}");
    write_secret(&restore.pepper_file, &"0".repeat(64));
    let refused = maintenance::restore(&restore, now).await.unwrap_err().to_string();
    assert!(
        refused.contains("is another one than the backup's, and is not overwritten"),
        "{refused}"
    );
    std::fs::remove_file(&restore.pepper_file).unwrap();
    write_secret(&restore.pepper_file, &pepper);
    assert!(!maintenance::restore(&restore, now).await.unwrap().wrote_pepper);
    let copy = Cloudly::start_on(dir, url, |_| {}).await;
    device.heartbeat(&copy).await;
}

#[tokio::test]
async fn the_database_whose_place_a_backup_takes_is_kept_with_its_log() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    let backup = cloudly.back_up("backup").await;
    cloudly.enrol("edge").await;
    cloudly.stop().await;
    // A log that was left by a crash is of that database alone.
    let log = cloudly.dir.path().join("cloudly.db-wal");
    std::fs::write(&log, "left").unwrap();
    let mut restore = restore_into(&backup, &cloudly.database_url, cloudly.dir.path());
    restore.replace = true;
    let restored = maintenance::restore(&restore, cloudly.clock.now()).await.unwrap();
    let kept = cloudly.dir.path().join("cloudly.db.replaced-20261123T120000Z");
    assert_eq!(restored.kept.as_deref(), Some(&*kept));
    assert!(!log.exists());
    let kept_log = kept.with_file_name("cloudly.db.replaced-20261123T120000Z-wal");
    assert_eq!(std::fs::read_to_string(&kept_log).unwrap(), "left");
    cloudly.start_again().await;
    assert_eq!(cloudly.list::<NodeRecord>("nodes", 10).await.len(), 0);
    let mode = std::fs::metadata(cloudly.database())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_file(kept_log).unwrap();
    cloudly.database_url = format!("sqlite:{}", kept.display());
    cloudly.restart().await;
    assert_eq!(cloudly.list::<NodeRecord>("nodes", 10).await.len(), 1);
}

#[apply(each_engine)]
#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_up_to_date(engine: Engine) {
    let cloudly = Cloudly::start(engine).await;
    let mut device = cloudly.enrol("edge").await;
    let whole = std::fs::read_to_string(cloudly.back_up("backup").await).unwrap();
    let mut lines: Vec<_> = whole.lines().collect();
    let end: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    // The fourth migration has added a column to one table, the last one there.
    let mut is_nodes = false;
    let older_lines = lines.into_iter().map(|line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if let Some(table) = value.get("table") {
            is_nodes = table == "nodes";
        }
        let cells = if value.is_array() {
            value.as_array_mut()
        } else {
            value.get_mut("columns").and_then(Value::as_array_mut)
        };
        match cells.filter(|_| is_nodes).and_then(Vec::pop) {
            Some(cell) => assert!(cell.is_null() || cell == "lifecycle_at", "{cell}"),
            None => return line.replacen("\"schema\":4", "\"schema\":3", 1),
        }
        value.to_string()
    });
    let body = format!("{}\n", older_lines.collect::<Vec<_>>().join("\n"));
    let dir = TempDir::new().unwrap();
    let older = dir.path().join("older");
    write_secret(&older, &sealed(&body, &end["rows"]));
    let url = engine.new_database(dir.path()).await;
    let restore = restore_into(&older, &url, dir.path());
    let restored = maintenance::restore(&restore, cloudly.clock.now()).await.unwrap();
    assert_eq!((restored.schema, restored.findings.len()), (3, 0));
    let copy = Cloudly::start_on(dir, url, |_| {}).await;
    device.heartbeat(&copy).await;
    assert!(rows(&copy.back_up("again").await)["nodes"][0]["lifecycle_at"].is_null());
}
