//! Behaviour of the real Supervisor that no single recorded answer shows.

use crate::virtual_supervisor::VirtualSupervisor;
use baseos_simulator::harness::TestRelease;
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Behaviour, Image, Step};
use std::time::Duration;

fn new_supervisor() -> VirtualSupervisor {
    let crashes = Behaviour::Exits {
        after_millis: 500,
        code: 1,
    };
    let mut supervisor = VirtualSupervisor::unmanaged();
    supervisor
        .set_image("onebox:crashes", Image::new(crashes, 200))
        .set_image(
            "onebox:flaps",
            Image::new(Behaviour::Flaps { after_millis: 500 }, 200),
        );
    supervisor
}

impl VirtualSupervisor {
    /// Posts a release and waits until it is applied, or tried several times.
    fn post_release(&mut self, commit: &str, onebox_image: &str) -> &mut Self {
        self.post(&TestRelease::new(commit, "1", onebox_image).local_target("device"))
            .wait(20)
    }

    fn container_id(&self, service: &str) -> String {
        self.model.container(service).unwrap().id.clone()
    }

    fn status(&self, service: &str) -> &'static str {
        self.model.container(service).unwrap().status()
    }

    /// The sequence of statuses that the container has in the next seconds.
    fn statuses(&mut self, service: &str, seconds: u64) -> Vec<&'static str> {
        let mut seen = Vec::new();
        let end = self.now + Duration::from_secs(seconds);
        self.advance_to(end, &mut |model, _| {
            seen.push(model.container(service).unwrap().status());
        });
        seen.dedup();
        seen
    }
}

#[test]
fn a_newer_post_does_not_interrupt_a_back_off() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:1");
    supervisor.set_image("onebox:bad", Image::missing());
    supervisor
        .post(&TestRelease::new("b2b2b2b2", "2", "onebox:bad").local_target("device"))
        .wait(8);
    assert_eq!(
        supervisor.model.step(),
        Step::Backoff,
        "after 1 + 2 + 4 s the back-off of 8 s"
    );
    supervisor
        .post(&TestRelease::new("a1a1a1a1", "1", "onebox:1").local_target("device"))
        .wait(6);
    assert_eq!(
        supervisor.model.step(),
        Step::Backoff,
        "the good target waits for the end of the back-off"
    );
    supervisor.wait(4);
    assert_eq!(supervisor.model.step(), Step::Idle);
}

#[test]
fn a_container_that_a_release_does_not_change_is_only_renamed() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:1");
    let (agent, onebox) = (
        supervisor.container_id("baserunner"),
        supervisor.container_id("onebox"),
    );
    supervisor.post_release("b2b2b2b2", "onebox:2");
    assert_eq!(supervisor.container_id("baserunner"), agent);
    assert_ne!(supervisor.container_id("onebox"), onebox);
    assert!(
        supervisor
            .model
            .container("baserunner")
            .unwrap()
            .name()
            .ends_with("_b2b2b2b2")
    );
}

const A: &str = "registry:5000/onebox@sha256:aa";
const B: &str = "registry:5000/onebox@sha256:bb";

/// `config.image` of Onebox in the Supervisor's target.
fn target_image(supervisor: &mut VirtualSupervisor) -> String {
    let state = supervisor.get("/v2/local/target-state");
    let apps = state
        .get("state")
        .and_then(|state| state.get("local")?.get("apps"));
    let services = apps.and_then(|apps| apps.get("1")?.get("services")).unwrap();
    let is_onebox = |service: &&Json| service.get("serviceName").and_then(Json::as_str) == Some("onebox");
    let onebox = services.items().iter().find(is_onebox).unwrap();
    let image = onebox.get("config").and_then(|config| config.get("image"));
    image.and_then(Json::as_str).unwrap().to_owned()
}

/// `dockerImageId` of each row of an image of Onebox in `/v2/state/status`.
fn row_images(supervisor: &mut VirtualSupervisor) -> Vec<String> {
    let status = supervisor.get("/v2/state/status");
    let rows = status.get("images").map(Json::items).unwrap_or_default();
    let of_onebox = |row: &&Json| row.get("serviceName").and_then(Json::as_str) == Some("onebox");
    let id = |row: &Json| {
        row.get("dockerImageId")
            .and_then(Json::as_str)
            .unwrap()
            .to_owned()
    };
    rows.iter().filter(of_onebox).map(id).collect()
}

/// with-agent, S2a: applied within a second, nothing pulled, the container only renamed, the old program runs on.
#[test]
fn another_digest_of_a_repository_is_applied_without_being_fetched() {
    let mut supervisor = new_supervisor();
    let crashes = Behaviour::Exits {
        after_millis: 500,
        code: 1,
    };
    supervisor.set_image(B, Image::new(crashes, 200));
    supervisor.post_release("a1a1a1a1", A);
    let (container, image) = (supervisor.container_id("onebox"), target_image(&mut supervisor));
    supervisor.post_release("b2b2b2b2", B);
    assert!(supervisor.has_applied("b2b2b2b2"));
    assert_eq!(supervisor.container_id("onebox"), container);
    let onebox = supervisor.model.container("onebox").unwrap();
    assert!(onebox.name().ends_with("_b2b2b2b2"));
    assert_eq!((onebox.behaviour, onebox.incarnation), (Behaviour::Runs, 1));
    assert_eq!(target_image(&mut supervisor), image, "looked up live");
    assert_eq!(
        row_images(&mut supervisor),
        [image.clone(), image],
        "two references, one image"
    );

    supervisor.post_release("c3c3c3c3", "registry:5000/onebox:3");
    assert_ne!(
        supervisor.container_id("onebox"),
        container,
        "a new tag is fetched"
    );
    supervisor.post_release("a1a1a1a1", A);
    assert!(supervisor.has_applied("a1a1a1a1"), "and can be gone back from");
}

#[test]
fn a_new_tag_of_the_same_image_only_renames_the_container() {
    let mut supervisor = new_supervisor();
    for reference in ["onebox:1", "onebox:2"] {
        supervisor.set_image(reference, Image::new(Behaviour::Runs, 200).with_content("one"));
    }
    supervisor.post_release("a1a1a1a1", "onebox:1");
    let container = supervisor.container_id("onebox");
    supervisor.post_release("b2b2b2b2", "onebox:2");
    assert_eq!(supervisor.container_id("onebox"), container);
    assert!(supervisor.has_applied("b2b2b2b2"));
}

/// with-agent, E4: a tag that moved on the engine shows in the target, not in the rows, and a post swaps the container.
#[test]
fn a_tag_that_moved_on_the_engine_shows_in_the_target_before_the_container_is_replaced() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:1");
    let (container, image) = (supervisor.container_id("onebox"), target_image(&mut supervisor));
    supervisor.model.move_tag("onebox:1", "newer");
    assert_ne!(target_image(&mut supervisor), image);
    assert_eq!(row_images(&mut supervisor), [image], "stale");
    assert_eq!(supervisor.container_id("onebox"), container);
    supervisor.post_release("a1a1a1a1", "onebox:1");
    assert_ne!(supervisor.container_id("onebox"), container);
}

#[test]
fn a_deleted_container_is_made_again_after_a_post_but_a_stopped_one_is_not_started() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:1");
    let now = supervisor.now;
    supervisor.model.delete_container(now, "onebox");
    supervisor.wait(60);
    assert!(supervisor.model.container("onebox").is_none() && supervisor.model.step() == Step::Idle);
    supervisor.post_release("a1a1a1a1", "onebox:1");
    assert_eq!(
        supervisor.status("onebox"),
        "Running",
        "a post makes a deleted container again"
    );
    let now = supervisor.now;
    supervisor.model.stop_container(now, "onebox");
    supervisor.wait(5).post_release("a1a1a1a1", "onebox:1");
    assert_eq!(
        supervisor.status("onebox"),
        "exited",
        "a post does not start a stopped container"
    );
    let now = supervisor.now;
    supervisor.model.restart(now);
    supervisor.wait(20);
    assert!(supervisor.model.is_up());
    assert_eq!(
        supervisor.status("onebox"),
        "exited",
        "a restart of the Supervisor does not start it either"
    );
}

#[test]
fn a_crash_loop_is_reported_as_running_with_the_default_restart_policy() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:crashes");
    assert_eq!(supervisor.statuses("onebox", 20), ["Running"]);
    assert!(supervisor.model.container("onebox").unwrap().incarnation > 3);

    let mut supervisor = new_supervisor();
    let version = TestRelease::new("a1a1a1a1", "1", "onebox:crashes").with_onebox_restart("no");
    supervisor.post(&version.local_target("device")).wait(20);
    assert_eq!(supervisor.status("onebox"), "exited");

    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:flaps");
    assert!(supervisor.statuses("onebox", 20).contains(&"exited"));
}

#[test]
fn a_release_whose_commit_has_only_digits_is_never_applied() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("11111111", "onebox:1").wait(600);
    assert_eq!(supervisor.model.step(), Step::Backoff);
}

#[test]
fn a_managed_device_cannot_apply_a_release_with_an_image_of_the_previous_one() {
    let target = |commit: &str, id: u64| {
        let text = format!(
            r#"{{"name":"device","config":{{}},"apps":{{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{{"id":1,"name":"baseos",
            "releases":{{"{commit}":{{"id":{id},"services":{{"onebox":{{"id":2,"image_id":{id},"image":"onebox:1",
            "environment":{{}},"labels":{{}}}}}}}}}}}}}}}}"#
        );
        Json::parse(text.as_bytes()).unwrap()
    };
    let mut supervisor = new_supervisor();
    supervisor.model.set_managed(true);
    for (commit, id, step) in [("a1a1a1a1", 1, Step::Idle), ("b2b2b2b2", 2, Step::Backoff)] {
        supervisor.model.set_backend_target(&target(commit, id)).unwrap();
        supervisor.update().wait(20);
        assert_eq!(supervisor.model.step(), step, "{commit}");
    }
}

#[test]
fn a_supervisor_without_its_database_has_no_target_and_makes_the_containers_again_with_a_post() {
    let mut supervisor = new_supervisor();
    supervisor.post_release("a1a1a1a1", "onebox:1");
    let before = supervisor.container_id("onebox");
    let now = supervisor.now;
    supervisor.model.lose_database(now);
    supervisor.wait(60);
    assert_eq!(supervisor.container_id("onebox"), before, "containers run on");
    assert_eq!(supervisor.status("onebox"), "Running");
    assert!(supervisor.model.target().apps.is_empty());
    supervisor.post_release("a1a1a1a1", "onebox:1");
    assert_ne!(supervisor.container_id("onebox"), before);
    assert_eq!(supervisor.status("onebox"), "Running");
}

/// Source: `volume.ts` and `normalizeLabels`.
#[test]
fn a_volume_is_kept_when_its_definitions_differ_in_form_alone() {
    let post = |labels: &str| {
        let text = TestRelease::new("a1a1a1a1", "1", "onebox:1")
            .local_target("device")
            .to_text();
        let text = text.replace(r#""baseos":{}"#, &format!(r#""baseos":{{"labels":{labels}}}"#));
        Json::parse(text.as_bytes()).unwrap()
    };
    let mut supervisor = new_supervisor();
    for (labels, wiped) in [
        ("{}", false),
        (r#"{"io.balena.supervised":"no","io.balena.app-uuid":"9"}"#, false),
        ("[]", false),
        (r#"["a=b"]"#, true),
        (r#"{"0":"a=b"}"#, false),
        (r#"{"io.balena.mine":"1"}"#, true),
        (r#"{"io.resin.mine":"1"}"#, false),
    ] {
        let before = supervisor.wiped_volumes().len();
        supervisor.post(&post(labels)).wait(20);
        assert_eq!(supervisor.wiped_volumes().len() > before, wiped, "{labels}");
    }
}
