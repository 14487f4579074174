//! A disk without room for the database.

use crate::support::{Cloudly, Engine};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system on a directory.
struct Mount(PathBuf);

impl Mount {
    fn on(dir: &Path) -> Self {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "cloudly-test"])
            .arg(dir)
            .status()
            .unwrap();
        assert!(mount.success(), "this test has to mount a tmpfs: run it as root");
        Self(dir.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(path).unwrap();
    while filler.write_all(&[b'x'; 4096]).is_ok() {}
}

async fn health(cloudly: &Cloudly) -> (u16, Value) {
    let request = cloudly.http.get(format!("{}/readyz", cloudly.url));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_full_disk_is_reported_by_the_health_check_and_writes_go_on_once_there_is_room() {
    let mut cloudly = Cloudly::start(Engine::Sqlite).await;
    cloudly.stop().await;
    let mount = Mount::on(cloudly.dir.path());
    cloudly.start_again().await;
    let filler = mount.0.join("filler");
    fill(&filler);
    // The log of the database has room of its own for the first ones.
    let body = json!({ "labels": { "room": "x".repeat(200) } });
    let mut written = 0;
    let refused = loop {
        let request = cloudly.admin(Method::POST, "join-tokens").json(&body);
        let response = request.send().await.unwrap();
        if response.status() != 201 {
            break response;
        }
        written += 1;
        assert!(written < 10_000, "the disk is not full");
    };
    assert_eq!(refused.status(), 503);
    let (status, problem) = health(&cloudly).await;
    assert_eq!(status, 503, "{problem}");
    let title = problem["title"].as_str().unwrap();
    assert!(
        title.starts_with("the database cannot be written: ") && title.contains("full"),
        "{title}"
    );

    std::fs::remove_file(&filler).unwrap();
    cloudly.join_token(body).await;
    assert_eq!(health(&cloudly).await.0, 200);
    cloudly.stop().await;
}
