//! The real Supervisor's traps that no single recorded answer shows, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use baseos_simulator::harness::Version;
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{
    Answer, Behaviour, Config, Image, LockTable, Registry, Reply, Request, Step, Supervisor,
};
use std::time::Duration;

struct World {
    model: Supervisor,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let registry = Registry::default()
            .with(
                "onebox:crashes",
                Image::new(
                    Behaviour::Exits {
                        after_millis: 500,
                        code: 1,
                    },
                    200,
                ),
            )
            .with(
                "onebox:flaps",
                Image::new(Behaviour::Flaps { after_millis: 500 }, 200),
            );
        Self {
            model: Supervisor::new(Config::default(), registry, Box::<LockTable>::default()),
            now: Duration::ZERO,
        }
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.model.advance(self.now);
        self
    }

    fn post(&mut self, target: &Json) -> &mut Self {
        let path = "/v2/local/target-state".to_owned();
        let body = target.to_text().into_bytes();
        let request = Request {
            method: "POST".into(),
            path,
            key: None,
            json: true,
            body,
        };
        let reply = self.model.handle(self.now, &request);
        assert!(
            matches!(reply, Reply::Answer(Answer { status: 200, .. })),
            "{reply:?}"
        );
        self
    }

    fn release(&mut self, commit: &str, onebox: &str) -> &mut Self {
        self.post(&Version::new(commit, "1", onebox).local_target("lab"))
            .wait(20)
    }

    fn id(&self, service: &str) -> String {
        self.model.container(service).unwrap().id.clone()
    }

    fn status(&self, service: &str) -> &'static str {
        self.model.container(service).unwrap().status()
    }

    /// Every status the container shows in the next seconds, looked at each 50 ms.
    fn statuses(&mut self, service: &str, seconds: u64) -> Vec<&'static str> {
        let mut seen = Vec::new();
        for _ in 0..seconds * 20 {
            self.now += Duration::from_millis(50);
            self.model.advance(self.now);
            seen.push(self.status(service));
        }
        seen.dedup();
        seen
    }
}

#[test]
fn a_newer_post_does_not_interrupt_a_back_off() {
    let mut world = World::new();
    world.release("a1a1a1a1", "onebox:1");
    world
        .model
        .registry
        .images
        .insert("onebox:bad".into(), Image::missing());
    world
        .post(&Version::new("b2b2b2b2", "2", "onebox:bad").local_target("lab"))
        .wait(8);
    assert_eq!(
        world.model.step(),
        Step::Backoff,
        "1 + 2 + 4 s are over, the 8 s run"
    );
    world
        .post(&Version::new("a1a1a1a1", "1", "onebox:1").local_target("lab"))
        .wait(6);
    assert_eq!(world.model.step(), Step::Backoff, "the good target waits too");
    world.wait(4);
    assert_eq!(world.model.step(), Step::Idle);
}

#[test]
fn a_service_that_a_release_does_not_change_is_renamed_only() {
    let mut world = World::new();
    world.release("a1a1a1a1", "onebox:1");
    let (agent, onebox) = (world.id("baserunner"), world.id("onebox"));
    world.release("b2b2b2b2", "onebox:2");
    assert_eq!(world.id("baserunner"), agent);
    assert_ne!(world.id("onebox"), onebox);
    assert!(
        world
            .model
            .container("baserunner")
            .unwrap()
            .name()
            .ends_with("_b2b2b2b2")
    );
}

#[test]
fn nothing_heals_until_a_post_or_a_restart_and_a_stopped_container_not_even_then() {
    let mut world = World::new();
    world.release("a1a1a1a1", "onebox:1");
    let now = world.now;
    world.model.delete_by_hand(now, "onebox");
    world.wait(60);
    assert!(world.model.container("onebox").is_none() && world.model.step() == Step::Idle);
    world.release("a1a1a1a1", "onebox:1");
    assert_eq!(
        world.status("onebox"),
        "Running",
        "a post makes a deleted one anew"
    );
    let now = world.now;
    world.model.stop_by_hand(now, "onebox");
    world.wait(5).release("a1a1a1a1", "onebox:1");
    assert_eq!(
        world.status("onebox"),
        "exited",
        "a post does not start a stopped one"
    );
    let now = world.now;
    world.model.restart(now);
    world.wait(20);
    assert!(world.model.is_up());
    assert_eq!(
        world.status("onebox"),
        "exited",
        "nor does a restart of the Supervisor"
    );
}

#[test]
fn a_crash_loop_looks_like_running_under_the_default_restart_policy() {
    let mut world = World::new();
    world.release("a1a1a1a1", "onebox:crashes");
    assert_eq!(world.statuses("onebox", 20), ["Running"]);
    assert!(world.model.container("onebox").unwrap().incarnation > 3);

    let mut world = World::new();
    let version = Version::new("a1a1a1a1", "1", "onebox:crashes").with_onebox_restart("no");
    world.post(&version.local_target("lab")).wait(20);
    assert_eq!(world.status("onebox"), "exited");

    let mut world = World::new();
    world.release("a1a1a1a1", "onebox:flaps");
    assert!(world.statuses("onebox", 20).contains(&"exited"));
}

#[test]
fn a_commit_of_decimal_digits_never_gets_done() {
    let mut world = World::new();
    world.release("11111111", "onebox:1").wait(600);
    assert_eq!(world.model.step(), Step::Backoff);
}

#[test]
fn two_releases_with_the_same_image_wedge_a_managed_device() {
    let target = |commit: &str, id: u64| {
        let text = format!(
            r#"{{"name":"lab","config":{{}},"apps":{{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{{"id":1,"name":"baseos",
            "releases":{{"{commit}":{{"id":{id},"services":{{"onebox":{{"id":2,"image_id":{id},"image":"onebox:1",
            "environment":{{}},"labels":{{}}}}}}}}}}}}}}}}"#
        );
        Json::parse(text.as_bytes()).unwrap()
    };
    let mut world = World::new();
    world.model.set_managed(true);
    for (commit, id, step) in [("a1a1a1a1", 1, Step::Idle), ("b2b2b2b2", 2, Step::Backoff)] {
        world.model.set_backend_target(&target(commit, id)).unwrap();
        let key = Some(Config::default().api_key);
        let request = Request {
            method: "POST".into(),
            path: "/v1/update".into(),
            key,
            ..Request::default()
        };
        assert_eq!(
            world.model.handle(world.now, &request),
            Reply::Answer(Answer::empty(204))
        );
        world.wait(20);
        assert_eq!(world.model.step(), step, "{commit}");
    }
}
