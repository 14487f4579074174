//! The commands of docs/operate/backup.md, as they stand there.

use crate::support::{COMMIT, Cloudly, Engine, Program, cloudly, output};
use baseos_interfaces::admin::{JoinTokenRecord, NodeRecord, Page};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The commands of a document's section, as its readers type them.
fn documented(section: &str) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/backup.md");
    let text = std::fs::read_to_string(document).unwrap();
    let section = text
        .split("\n## ")
        .find(|found| found.starts_with(section))
        .unwrap();
    let blocks = section.split("```bash\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// Runs them in a shell, with the directories of the document in `dir`.
async fn run_documented(dir: &TempDir, section: &str, database_url: &str, server: &str) -> String {
    let at = dir.path().display();
    let script = documented(section)
        .replace("/var/lib/cloudly", &at.to_string())
        .replace("/var/backups", &at.to_string());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_cloudly"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-euc", &script])
        .env_clear()
        .env("PATH", path)
        .env("CLOUDLY_DATABASE_URL", database_url)
        .env("CLOUDLY_URL", server)
        .current_dir(dir.path());
    let output = output(&mut shell).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_documented_commands_back_up_restore_export_and_move() {
    let server = Program::start(Engine::Sqlite).await;
    let mut device = server.enrol("edge").await;
    device.heartbeat(&server).await;
    let url = format!("sqlite:{}/cloudly.db", server.dir.path().display());
    let said = run_documented(&server.dir, "Back up", &url, &server.url).await;
    assert!(
        said.contains("holds secrets of releases and the pepper"),
        "{said}"
    );
    server.set_target(COMMIT).await;
    let said = run_documented(&server.dir, "Releases and targets as a file", &url, &server.url).await;
    assert_eq!(
        said.matches("everything is as the file says\n").count(),
        2,
        "{said}"
    );
    server.enrol("later").await;
    let running =
        output(cloudly(&server.dir).args(["restore", "--from", "cloudly.backup", "--replace"])).await;
    let error = String::from_utf8(running.stderr).unwrap();
    assert!(
        error.contains("another cloudly already uses the database"),
        "{error}"
    );

    let dir = server.stop().await;
    let said = run_documented(&dir, "Restore", &url, "http://127.0.0.1:1").await;
    assert!(
        said.contains("nothing was changed") && said.contains("is kept in"),
        "{said}"
    );
    let url = Engine::Postgres.new_database(dir.path()).await;
    let said = run_documented(&dir, "From SQLite to PostgreSQL", &url, "http://127.0.0.1:1").await;
    assert!(said.contains("nothing is wrong"), "{said}");
    let moved = Cloudly::start_on(dir, url, |_| {}).await;
    device.heartbeat(&moved).await;
    let nodes: Page<NodeRecord> = moved.get("nodes").await;
    let tokens: Page<JoinTokenRecord> = moved.get("join-tokens").await;
    assert_eq!((nodes.items.len(), tokens.items.len()), (1, 1));
}
