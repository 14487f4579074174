//! Images that are on the device and no longer needed are told.

use super::world::{Action, PolicyKind, View, World, desired_app};
use crate::lifecycle::report;
use baseos_interfaces::desired::PlatformImage;
use baseos_interfaces::status::UnusedImage;

/// The image of Onebox in a numbered release.
fn onebox(number: u8) -> String {
    format!("registry.example/onebox:1.{number}.0")
}

fn unused(world: &World) -> Vec<UnusedImage> {
    report::unused_images::unused_images(world.machine.shared(), world.machine.state())
}

fn references(world: &World) -> Vec<String> {
    unused(world).into_iter().map(|image| image.image).collect()
}

/// Applies a release and shows its images, with those that were there before.
fn apply(world: &mut World, number: u8) {
    for image in ["baserunner", "onebox"] {
        world
            .present_images
            .push(format!("registry.example/{image}:1.{number}.0"));
    }
    world.present_images.sort();
    world.act(Action::Desire(number, PolicyKind::Plain));
    world.settle();
    world.act(Action::Observe(View::Actual));
}

#[test]
fn an_image_is_unused_when_neither_what_runs_nor_the_way_back_needs_it() {
    let mut world = World::enrolled();
    apply(&mut world, 1);
    apply(&mut world, 2);
    assert_eq!(references(&world), [""; 0], "1 is the release to go back to");
    apply(&mut world, 4);
    assert_eq!(
        references(&world),
        ["registry.example/baserunner:1.1.0", &onebox(1)]
    );
    world.present_images.retain(|image| *image != onebox(1));
    world.act(Action::Observe(View::Actual));
    assert_eq!(
        references(&world),
        ["registry.example/baserunner:1.1.0"],
        "somebody removed it"
    );
}

#[test]
fn what_the_release_said_of_the_size_of_an_image_is_told() {
    let mut world = World::enrolled();
    world.run.node.architecture = Some("aarch64".to_owned());
    world.act(Action::Restart { reboot: false });
    let mut app = desired_app(2, PolicyKind::Plain);
    let services = &mut app.release.services;
    services.get_mut("onebox").unwrap().size_bytes = Some(5 << 20);
    let platforms = &mut services.get_mut("baserunner").unwrap().platforms;
    for (platform, mebibytes) in [("linux/amd64", 9), ("linux/arm64", 7)] {
        let image = PlatformImage {
            config_digest: None,
            size_bytes: Some(mebibytes << 20),
        };
        platforms.insert(platform.to_owned(), image);
    }
    world.desire_app(Some(app));
    world.settle();
    apply(&mut world, 4);
    world.present_images.push(onebox(2));
    world
        .present_images
        .insert(0, "registry.example/baserunner:1.2.0".to_owned());
    apply(&mut world, 1);
    let words: Vec<_> = unused(&world).iter().map(UnusedImage::in_words).collect();
    assert_eq!(
        words,
        [
            "registry.example/baserunner:1.2.0 (7 MiB)",
            "registry.example/onebox:1.2.0 (5 MiB)"
        ]
    );
}

#[test]
fn nothing_is_called_unused_beside_a_release_that_somebody_else_handed_over() {
    let mut world = World::enrolled();
    world.present_images.push("registry.example/other:1".to_owned());
    apply(&mut world, 2);
    assert_eq!(references(&world), ["registry.example/other:1"]);
    world.act(Action::Observe(View::Foreign));
    assert_eq!(references(&world), [""; 0]);
}
