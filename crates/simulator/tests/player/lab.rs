//! A Supervisor in virtual time, and the playing of a recording against it.

use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{
    Answer, Behaviour, Config, Effect, Image, LockTable, Locks, Pull, Registry, Reply, Request, Supervisor,
    Timing,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happened between two recorded lines.
#[derive(Clone, Debug)]
pub(crate) enum At {
    Post(Json),
    /// A post, long enough ago to be applied.
    Earlier(Json),
    Restart,
    NoApps,
    Lock,
    Unlock,
    Applied(&'static str),
    Backend(&'static str),
    RegistryUp,
}

/// Locks that the test and the model share.
#[derive(Clone, Default)]
struct SharedLocks(Arc<Mutex<LockTable>>);

impl Locks for SharedLocks {
    fn held(&self, app: u64, service: &str) -> bool {
        self.0.lock().unwrap().held(app, service)
    }
    fn take(&mut self, app: u64, service: &str) {
        self.0.lock().unwrap().take(app, service);
    }
    fn release(&mut self, app: u64) {
        self.0.lock().unwrap().release(app);
    }
    fn remove(&mut self, app: u64, service: &str) {
        self.0.lock().unwrap().remove(app, service);
    }
    fn clear(&mut self) {
        self.0.lock().unwrap().clear();
    }
}

pub(crate) struct Lab {
    pub(crate) model: Supervisor,
    locks: SharedLocks,
    pub(crate) now: Duration,
    pub(crate) effects: Vec<Effect>,
    app: u64,
}

pub(crate) const STEP: Duration = Duration::from_millis(20);

impl Lab {
    pub(crate) fn unmanaged() -> Self {
        Self::new(Timing::recorded())
    }

    fn new(timing: Timing) -> Self {
        let locks = SharedLocks::default();
        let model = Supervisor::new(
            Config {
                timing,
                ..Config::default()
            },
            Registry::default(),
            Box::new(locks.clone()),
        );
        Self {
            model,
            locks,
            now: Duration::ZERO,
            effects: Vec::new(),
            app: 1,
        }
    }

    /// A device of the managed lab, running b2.
    pub(crate) fn managed() -> Self {
        Self::managed_with(Timing::recorded(), "b2")
    }

    /// The same on a bad day: the recorded update took 6 s without any download.
    pub(crate) fn slow_managed(release: &str) -> Self {
        let timing = Timing {
            stop: Duration::from_millis(900),
            start: Duration::from_millis(900),
            commit: Duration::from_millis(2500),
            ..Timing::recorded()
        };
        Self::managed_with(timing, release)
    }

    fn managed_with(timing: Timing, release: &str) -> Self {
        let mut lab = Self::new(timing);
        lab.app = 4242;
        lab.model.set_managed(true);
        lab.backend(release).update().wait(20);
        assert!(lab.applied(&release.repeat(16)));
        lab
    }

    fn target(release: &str, config: &str) -> Json {
        let number: u64 = release[1..].parse().unwrap();
        let commit = release.repeat(16);
        let digest = [
            "795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab",
            "a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea",
            "59d1ab51fb52402f8f59b253381da554fd3c0636ed2a28b29a8b39c8dec25fae",
        ][usize::try_from(number - 1).unwrap()];
        let image = format!("127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff0000000{number}@sha256:{digest}");
        let text = format!(
            r#"{{"name":"lab-device","config":{config},"apps":{{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{{"id":4242,
            "name":"labfleet","class":"fleet","releases":{{"{commit}":{{"id":{number}00,"services":{{"main":{{"id":501,
            "image_id":60{number},"image":"{image}","environment":{{}},
            "labels":{{"io.balena.features.supervisor-api":"1"}}}}}}}}}}}}}}}}"#
        );
        Json::parse(text.as_bytes()).unwrap()
    }

    pub(crate) fn backend(&mut self, release: &str) -> &mut Self {
        self.model
            .set_backend_target(&Self::target(release, "{}"))
            .unwrap();
        self
    }

    pub(crate) fn backend_with_override(&mut self, release: &str) -> &mut Self {
        let config = r#"{"RESIN_SUPERVISOR_OVERRIDE_LOCK":"1"}"#;
        self.model
            .set_backend_target(&Self::target(release, config))
            .unwrap();
        self
    }

    /// The backend says: look.
    pub(crate) fn update(&mut self) -> &mut Self {
        let key = Some(Config::default().api_key);
        let request = Request {
            method: "POST".into(),
            path: "/v1/update".into(),
            key,
            ..Request::default()
        };
        assert_eq!(
            self.model.handle(self.now, &request),
            Reply::Answer(Answer::empty(204))
        );
        self
    }

    pub(crate) fn post(&mut self, body: &Json) -> &mut Self {
        let reply = self.request(
            "POST",
            "/v2/local/target-state",
            None,
            body.to_text().into_bytes(),
        );
        assert!(
            matches!(reply, Reply::Answer(Answer { status: 200, .. })),
            "{reply:?}"
        );
        self
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, key: Option<String>, body: Vec<u8>) -> Reply {
        let request = Request {
            method: method.into(),
            path: path.into(),
            key,
            json: !body.is_empty(),
            body,
        };
        self.model.handle(self.now, &request)
    }

    pub(crate) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.wait_millis(seconds * 1000)
    }

    pub(crate) fn wait_millis(&mut self, millis: u64) -> &mut Self {
        self.until(self.now + Duration::from_millis(millis), &mut |_, _| {});
        self
    }

    pub(crate) fn until(&mut self, end: Duration, watch: &mut dyn FnMut(&mut Supervisor, Duration)) {
        while self.now < end {
            self.now = (self.now + STEP).min(end);
            self.model.advance(self.now);
            self.effects.extend(self.model.take_effects());
            watch(&mut self.model, self.now);
        }
    }

    pub(crate) fn lock(&mut self, app: u64, service: &str) -> &mut Self {
        self.locks.0.lock().unwrap().lock(app, service);
        self
    }

    pub(crate) fn unlock(&mut self, app: u64, service: &str) -> &mut Self {
        self.locks.0.lock().unwrap().remove(app, service);
        self
    }

    pub(crate) fn missing(&mut self, image: &str) -> &mut Self {
        self.model
            .registry
            .images
            .insert(image.to_owned(), Image::missing());
        self
    }

    pub(crate) fn does_not_start(&mut self, image: &str) -> &mut Self {
        let broken = Image {
            pull: Pull::default(),
            run: Behaviour::DoesNotStart,
        };
        self.model.registry.images.insert(image.to_owned(), broken);
        self
    }

    pub(crate) fn rmi(&mut self, image: &str) -> &mut Self {
        self.model.remove_image_by_hand(image);
        self
    }

    pub(crate) fn registry_down(&mut self, down: bool) -> &mut Self {
        self.model.registry.down = down;
        self
    }

    pub(crate) fn applied(&mut self, commit: &str) -> bool {
        let status = self.get("/v2/state/status");
        status.get("appState").and_then(Json::as_str) == Some("applied")
            && status.get("release").and_then(Json::as_str) == Some(commit)
    }

    pub(crate) fn services(&self) -> Vec<String> {
        self.model
            .containers()
            .iter()
            .map(|container| container.service.clone())
            .collect()
    }

    pub(crate) fn wiped(&self) -> Vec<String> {
        let name = |effect: &Effect| match effect {
            Effect::WipeVolume { name } => Some(name.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(name).collect()
    }

    pub(crate) fn get(&mut self, path: &str) -> Json {
        get(&mut self.model, self.now, path)
    }

    pub(crate) fn happen(&mut self, what: &At) {
        match what {
            At::Post(body) => drop(self.post(body)),
            At::Earlier(body) => drop(self.post(body).wait(20)),
            At::Restart => {
                self.model.restart(self.now);
                self.wait(3);
            }
            At::NoApps => assert!(
                self.services().is_empty(),
                "all apps are removed: {:?}",
                self.services()
            ),
            At::Lock => drop(self.lock(self.app, "main")),
            At::Unlock => drop(self.unlock(self.app, "main")),
            At::Applied(commit) => {
                self.wait(5);
                assert!(self.applied(commit), "{commit} is applied");
            }
            At::Backend(release) => drop(self.backend(release).update()),
            At::RegistryUp => {
                // The layers were there already: it took less than a second.
                let image = Image::new(Behaviour::Runs, 300);
                for app in &self.model.target().apps.clone() {
                    self.model
                        .registry
                        .images
                        .insert(app.services[0].config.image.clone(), image.clone());
                }
                self.registry_down(false);
            }
        }
    }
}

pub(crate) fn get(model: &mut Supervisor, now: Duration, path: &str) -> Json {
    let key = Some(Config::default().api_key);
    let request = Request {
        method: "GET".into(),
        path: path.into(),
        key,
        ..Request::default()
    };
    match model.handle(now, &request) {
        Reply::Answer(answer) => Json::parse(answer.body.as_bytes()).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}
