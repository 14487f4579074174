//! `cloudly release create` asks a real registry which images these are.

use crate::support::registry::{BASIC_AUTH, Pushed, Registry};
use crate::support::{COMMIT, Engine, Program};
use baseos_interfaces::admin::ReleaseRecord;
use baseos_interfaces::desired::PlatformImage;
use serde_json::{Value, json};

fn amd64() -> Value {
    json!({ "os": "linux", "architecture": "amd64" })
}

fn arm_v7() -> Value {
    json!({ "os": "linux", "architecture": "arm", "variant": "v7" })
}

/// A single image for the agent, and an index of two platforms for Onebox.
async fn push_images(registry: &Registry) -> [(&'static str, &'static str, Pushed); 3] {
    let agent = registry.push("a/baserunner", Some("1"), amd64(), b"agent").await;
    let amd = registry.push("a/onebox", None, amd64(), &[1; 3000]).await;
    let arm = registry.push("a/onebox", None, arm_v7(), &[2; 500]).await;
    registry.push_index("a/onebox", "1", &[&amd, &arm]).await;
    [
        ("baserunner", "linux/amd64", agent),
        ("onebox", "linux/amd64", amd),
        ("onebox", "linux/arm/v7", arm),
    ]
}

fn create<'a>(services: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    let [agent, onebox] = services;
    let mut args = vec![
        "release",
        "create",
        "--json",
        "--registry-insecure",
        "--commit",
        COMMIT,
    ];
    args.extend(["--service", agent, "--service", onebox]);
    args.extend(more);
    args
}

fn services(registry: &Registry) -> [String; 2] {
    ["baserunner", "onebox"].map(|name| format!("{name}={}/a/{name}:1", registry.host))
}

fn assert_resolved(created: &str, pushed: &[(&str, &str, Pushed)]) {
    let record: ReleaseRecord = serde_json::from_str(created).unwrap();
    let known = record
        .release
        .services
        .values()
        .map(|service| service.platforms.len());
    assert_eq!(known.sum::<usize>(), pushed.len());
    for (service, platform, image) in pushed {
        let expected = PlatformImage {
            config_digest: Some(image.config_digest.clone()),
            size_bytes: Some(image.size),
        };
        assert_eq!(record.release.services[*service].platforms[*platform], expected);
    }
}

#[tokio::test]
async fn digests_and_sizes_come_from_a_real_registry_for_an_image_and_for_an_index() {
    let registry = Registry::start(false).await;
    let pushed = push_images(&registry).await;
    let program = Program::start(Engine::Sqlite).await;
    let created = program.run_ok(&create(&services(&registry), &[])).await;
    assert_resolved(&created, &pushed);
}

#[tokio::test]
async fn an_image_with_an_impossible_platform_is_warned_of_and_the_release_is_created() {
    let registry = Registry::start(false).await;
    let escape = json!({ "os": "linux\u{1b}[2J", "architecture": "amd64" });
    registry.push("a/baserunner", Some("1"), escape, b"agent").await;
    registry.push("a/onebox", Some("1"), amd64(), b"onebox").await;
    let program = Program::start(Engine::Sqlite).await;
    let output = program.run(&create(&services(&registry), &[])).await;
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{warned}");
    let expected = format!(
        "{0}/a/baserunner:1: {0} sends a platform that is not",
        registry.host
    );
    assert!(
        warned.contains(&expected) && !warned.contains('\u{1b}'),
        "{warned}"
    );
    let record: ReleaseRecord = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record.release.services["baserunner"].platforms.is_empty());
    assert_eq!(record.release.services["onebox"].platforms.len(), 1);
}

#[tokio::test]
async fn credentials_from_a_file_open_a_registry_and_the_release_gains_what_it_says() {
    let registry = Registry::start(true).await;
    let pushed = push_images(&registry).await;
    let program = Program::start(Engine::Sqlite).await;
    let services = services(&registry);
    // Without credentials the release goes without.
    let output = program.run(&create(&services, &[])).await;
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && warned.contains("goes without this image's digest"),
        "{warned}"
    );
    let without: ReleaseRecord = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        without
            .release
            .services
            .values()
            .all(|service| service.platforms.is_empty())
    );

    let file = program.dir.path().join("config.json");
    let config = json!({ "auths": { &registry.host: { "auth": BASIC_AUTH } } });
    std::fs::write(&file, config.to_string()).unwrap();
    let credentials = ["--registry-credentials", file.to_str().unwrap()];
    let created = program.run_ok(&create(&services, &credentials)).await;
    assert_resolved(&created, &pushed);
    let again: ReleaseRecord = serde_json::from_str(&created).unwrap();
    assert_eq!(
        again.release.release_id, without.release.release_id,
        "it is the same release"
    );
}
