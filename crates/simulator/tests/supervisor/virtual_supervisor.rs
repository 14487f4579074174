//! A Supervisor in virtual time.

use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{
    Answer, Behaviour, Config, Effect, Image, LocksInMemory, Registry, Reply, Request, Supervisor, Timing,
    UpdateLocks,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happened to the recorded Supervisor between two recorded lines, or what was true then.
#[derive(Clone, Debug)]
pub(crate) enum Intervention {
    Post(Json),
    /// A post, long enough ago to be applied.
    EarlierPost(Json),
    Restart,
    Lock,
    Unlock,
    /// The backend has another release, and tells the Supervisor to fetch it.
    BackendRelease(&'static str),
    RegistryUp,
    AssertNoApps,
    AssertApplied(&'static str),
}

/// Locks that the test and the model share.
#[derive(Clone, Default)]
struct SharedLocks(Arc<Mutex<LocksInMemory>>);

impl UpdateLocks for SharedLocks {
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

pub(crate) struct VirtualSupervisor {
    pub(crate) model: Supervisor,
    locks: SharedLocks,
    pub(crate) now: Duration,
    pub(crate) effects: Vec<Effect>,
    app: u64,
}

pub(crate) const STEP: Duration = Duration::from_millis(20);

impl VirtualSupervisor {
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

    /// With a backend, running the release b2.
    pub(crate) fn managed() -> Self {
        Self::managed_with(Timing::recorded(), "b2")
    }

    /// With a backend, and slower: the recorded update took 6 s without any download.
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
        let mut supervisor = Self::new(timing);
        supervisor.app = 4242;
        supervisor.model.set_managed(true);
        supervisor.set_backend_release(release).update().wait(20);
        assert!(supervisor.has_applied(&release.repeat(16)));
        supervisor
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

    pub(crate) fn set_backend_release(&mut self, release: &str) -> &mut Self {
        self.model
            .set_backend_target(&Self::target(release, "{}"))
            .unwrap();
        self
    }

    pub(crate) fn set_backend_release_with_lock_override(&mut self, release: &str) -> &mut Self {
        let config = r#"{"RESIN_SUPERVISOR_OVERRIDE_LOCK":"1"}"#;
        self.model
            .set_backend_target(&Self::target(release, config))
            .unwrap();
        self
    }

    /// The backend tells the Supervisor to fetch its target.
    pub(crate) fn update(&mut self) -> &mut Self {
        let request = Request::update(&Config::default().api_key);
        assert_eq!(
            self.model.handle(self.now, &request),
            Reply::Answer(Answer::empty(204))
        );
        self
    }

    pub(crate) fn post(&mut self, body: &Json) -> &mut Self {
        let request = Request::post_target(body.to_text().into_bytes());
        let reply = self.model.handle(self.now, &request);
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
        self.advance_to(self.now + Duration::from_millis(millis), &mut |_, _| {});
        self
    }

    pub(crate) fn advance_to(&mut self, end: Duration, watch: &mut dyn FnMut(&mut Supervisor, Duration)) {
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

    pub(crate) fn set_image(&mut self, reference: &str, image: Image) -> &mut Self {
        self.model.registry.images.insert(reference.to_owned(), image);
        self
    }

    /// The image cannot be started.
    pub(crate) fn break_image(&mut self, reference: &str) -> &mut Self {
        let broken = Image {
            run: Behaviour::DoesNotStart,
            ..Image::default()
        };
        self.set_image(reference, broken)
    }

    pub(crate) fn remove_image(&mut self, reference: &str) -> &mut Self {
        self.model.remove_image(reference);
        self
    }

    pub(crate) fn set_registry_down(&mut self, down: bool) -> &mut Self {
        self.model.registry.down = down;
        self
    }

    pub(crate) fn has_applied(&mut self, commit: &str) -> bool {
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

    pub(crate) fn wiped_volumes(&self) -> Vec<String> {
        let name = |effect: &Effect| match effect {
            Effect::WipeVolume { name } => Some(name.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(name).collect()
    }

    pub(crate) fn get(&mut self, path: &str) -> Json {
        get(&mut self.model, self.now, path)
    }

    pub(crate) fn intervene(&mut self, intervention: &Intervention) {
        match intervention {
            Intervention::Post(body) => drop(self.post(body)),
            Intervention::EarlierPost(body) => drop(self.post(body).wait(20)),
            Intervention::Restart => {
                self.model.restart(self.now);
                self.wait(3);
            }
            Intervention::AssertNoApps => {
                assert!(self.services().is_empty(), "apps are left: {:?}", self.services());
            }
            Intervention::Lock => drop(self.lock(self.app, "main")),
            Intervention::Unlock => drop(self.unlock(self.app, "main")),
            Intervention::AssertApplied(commit) => {
                self.wait(5);
                assert!(self.has_applied(commit), "{commit} is not applied");
            }
            Intervention::BackendRelease(release) => drop(self.set_backend_release(release).update()),
            Intervention::RegistryUp => {
                // The layers were there already: the pull took less than a second.
                let image = Image::new(Behaviour::Runs, 300);
                for app in &self.model.target().apps.clone() {
                    self.set_image(&app.services[0].config.image, image.clone());
                }
                self.set_registry_down(false);
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
