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
