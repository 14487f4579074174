//! The image that runs is the image that was meant.

use crate::fixture::{Fixture, LIMIT, V1, V2, V3, options, printed, release};
use baseos_interfaces::admin::NodeRecord;
use baseos_interfaces::desired::PlatformImage;
use baseos_interfaces::states::UpdateState;
use baseos_interfaces::status::UnusedImage;
use baseos_simulator::harness::TestRelease;
use baseos_simulator::supervisor::Registry;

const V5: &str = "e5e5e5e5";

/// Onebox by digest, in one repository.
fn onebox(content: char) -> String {
    format!(
        "registry.example/onebox@sha256:{}",
        content.to_string().repeat(64)
    )
}

fn on_this_platform(engine_image: String) -> PlatformImage {
    PlatformImage {
        config_digest: Some(engine_image),
        size_bytes: Some(1 << 20),
    }
}

/// The release that the test is about, with the image of Onebox that the engine will have for it.
fn v5(engine_image: &str) -> TestRelease {
    let image = on_this_platform(Registry::default().image_id(engine_image));
    TestRelease::new(V5, "5.0.0", "onebox:5").with_onebox_platform("linux/amd64", image)
}

/// The Supervisor would rename the container and call it applied, and the old program would run on.
#[tokio::test]
async fn another_digest_of_a_repository_that_the_device_has_is_refused_with_what_to_write() {
    let mut options = options();
    options.first_release = TestRelease::new(V1, "1.0.0", &onebox('a'));
    let fixture = Fixture::start_without_releases(options).await.unwrap();
    // Cloudly does not know what the device was delivered with.
    let release = TestRelease::new(V5, "5.0.0", &onebox('b'));
    fixture.publish(&release).await.unwrap();
    fixture.desire(V5).await.unwrap();
    let failed = fixture
        .wait_update_ended(UpdateState::Failed, V5, V1)
        .await
        .unwrap();
    let error = failed.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "releaseRefused");
    assert!(
        error.message.contains("write a tag that no other image uses"),
        "{}",
        error.message
    );
    assert_eq!(fixture.count_posts(V5), 0);
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn an_image_that_is_not_the_one_the_release_names_fails_and_is_gone_back_from() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.publish(&v5("another image")).await.unwrap();
    fixture.desire(V5).await.unwrap();
    let failed = fixture
        .wait_update_ended(UpdateState::Failed, V5, V1)
        .await
        .unwrap();
    let error = failed.status.unwrap().update.error.unwrap();
    assert_eq!(error.code, "imageNotReplaced");
    assert!(
        error.evidence.iter().any(|seen| seen.starts_with("onebox: ")),
        "{:?}",
        error.evidence
    );
    assert_eq!(fixture.reported_ends(V5).await.unwrap(), ["failed"]);
    assert_eq!((fixture.count_posts(V5), fixture.count_posts(V1)), (1, 1));
    fixture.wait_runs(V1, LIMIT).await.unwrap();
    fixture.assert_consistent().await;
}

#[tokio::test]
async fn the_image_that_the_release_names_succeeds() {
    let fixture = Fixture::start(options()).await.unwrap();
    fixture.publish(&v5("onebox:5")).await.unwrap();
    fixture.desire(V5).await.unwrap();
    fixture.wait_update_succeeded(V5).await.unwrap();
    assert_eq!(fixture.reported_ends(V5).await.unwrap(), ["succeeded"]);
    fixture.assert_consistent().await;
}

/// The same image under a new tag: the Supervisor keeps the container, and that is right.
#[tokio::test]
async fn a_new_tag_of_the_very_same_image_succeeds_when_its_digest_is_known() {
    let one = Registry::default().image_id("one");
    let mut options = options();
    for reference in ["onebox:1", "onebox:5"] {
        let image = options.registry.image(reference).with_content("one");
        options = options.with_image(reference, image);
    }
    let fixture = Fixture::start_without_releases(options).await.unwrap();
    let of =
        |release: TestRelease| release.with_onebox_platform("linux/amd64", on_this_platform(one.clone()));
    fixture.publish(&of(release(V1))).await.unwrap();
    fixture.desire(V1).await.unwrap();
    fixture.wait_update_succeeded(V1).await.unwrap();
    fixture
        .publish(&of(TestRelease::new(V5, "5.0.0", "onebox:5")))
        .await
        .unwrap();
    fixture.desire(V5).await.unwrap();
    fixture.wait_update_succeeded(V5).await.unwrap();
    fixture.assert_consistent().await;
}

/// An unmanaged Supervisor keeps every image; only the operator can free their space.
#[tokio::test]
async fn an_image_that_neither_the_release_nor_the_one_before_needs_is_listed_until_it_is_removed() {
    let fixture = Fixture::start(options()).await.unwrap();
    for commit in [V2, V3] {
        fixture.desire(commit).await.unwrap();
        fixture.wait_update_succeeded(commit).await.unwrap();
    }
    let unused = |node: &NodeRecord| -> Vec<String> {
        let release = node.status.as_ref().and_then(|status| status.release.as_ref());
        let images = release.map(|release| &release.unused_images);
        images
            .into_iter()
            .flatten()
            .map(|image| image.image.clone())
            .collect()
    };
    fixture
        .wait_node("onebox:1 is listed", LIMIT, |node| unused(node) == ["onebox:1"])
        .await
        .unwrap();
    let status = printed(&fixture.run_command(&["status"]).await);
    assert!(
        status.contains("unused      onebox:1\n") && status.contains(UnusedImage::REMEDY),
        "{status}"
    );
    fixture
        .device
        .with_model(|model, _| model.remove_image("onebox:1"));
    fixture
        .wait_node("nothing is listed", LIMIT, |node| unused(node).is_empty())
        .await
        .unwrap();
    fixture.assert_consistent().await;
}
