//! A Supervisor in virtual time, and the playing of a recording against it.

use super::compare::difference;
use super::{Tally, lines};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{
    Answer, Behaviour, Config, Effect, Image, LockTable, Locks, Pull, Registry, Reply, Request, Supervisor,
    Timing,
};
use std::collections::BTreeMap;
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
    model: Supervisor,
    locks: SharedLocks,
    now: Duration,
    effects: Vec<Effect>,
    app: u64,
}

const STEP: Duration = Duration::from_millis(20);

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

    fn request(&mut self, method: &str, path: &str, key: Option<String>, body: Vec<u8>) -> Reply {
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

    fn until(&mut self, end: Duration, watch: &mut dyn FnMut(&mut Supervisor, Duration)) {
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

    fn get(&mut self, path: &str) -> Json {
        get(&mut self.model, self.now, path)
    }

    fn happen(&mut self, what: &At) {
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

    /// Plays a recording; `script` says what happened before which line.
    pub(crate) fn play(&mut self, file: &str, script: &[(usize, At)], tally: &mut Tally) {
        let lines = lines(file);
        let start = self.now;
        let first = lines.first().map(seconds).unwrap();
        // GETs are compared afterwards: recorded times are whole seconds, so the answer may be that of any moment
        // within a second of it.
        let mut seen: Vec<(Duration, BTreeMap<String, Json>)> = Vec::new();
        let mut paths: Vec<String> = lines
            .iter()
            .filter(|line| text(line, "method") == "GET")
            .map(|line| text(line, "path"))
            .collect();
        paths.sort();
        paths.dedup();
        let watched =
            |path: &str| matches!(path, "/v1/device" | "/v2/state/status" | "/v2/applications/state");
        let mut gets = Vec::new();
        let mut watch = |model: &mut Supervisor, now: Duration| {
            let poll = paths.iter().filter(|path| watched(path) && model.is_up());
            let answers: Vec<String> = poll.cloned().collect();
            let all = answers
                .into_iter()
                .map(|path| (path.clone(), get(model, now, &path)))
                .collect();
            seen.push((now, all));
        };
        for (number, line) in lines.iter().enumerate() {
            self.until(start + Duration::from_secs(seconds(line) - first), &mut watch);
            for (_, what) in script.iter().filter(|(at, _)| *at == number) {
                self.happen(what);
            }
            let path = text(line, "path");
            if !is_ours(&path) {
                tally.skipped(&format!("{} {path}", text(line, "method")));
                continue;
            }
            if text(line, "method") == "GET"
                && watched(&path)
                && line.get("status").and_then(Json::as_id) == Some(200)
            {
                gets.push((self.now, number));
                continue;
            }
            self.compare_now(file, number, line, &mut watch);
            tally.compared(file);
        }
        self.until(self.now + Duration::from_secs(1), &mut watch);
        for (at, number) in gets {
            compare_seen(file, number, &lines[number], at, &seen);
            tally.compared(file);
        }
    }

    fn compare_now(
        &mut self,
        file: &str,
        number: usize,
        line: &Json,
        watch: &mut dyn FnMut(&mut Supervisor, Duration),
    ) {
        let body = match line.get("body") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::String(text)) => text.clone().into_bytes(),
            Some(body) => body.to_text().into_bytes(),
        };
        let key = match text(line, "key").as_str() {
            "scoped" => Some(self.model.service_key(4242, "main")),
            "global" => Some(Config::default().api_key),
            "none" => None,
            wrong => Some(wrong.to_owned()),
        };
        let was_up = self.model.is_up();
        let what = format!(
            "{file}:{}: {} {}",
            number + 1,
            text(line, "method"),
            text(line, "path")
        );
        let reply = self.request(&text(line, "method"), &text(line, "path"), key, body);
        if let Some(error) = line.get("error").and_then(Json::as_str) {
            assert_eq!(reply, Reply::Dropped, "{what}");
            assert_eq!(was_up, error.starts_with("RemoteDisconnected"), "{what}: {error}");
            return;
        }
        let answer = match reply {
            Reply::Answer(answer) => answer,
            Reply::Later(ticket) => self.later(ticket, watch),
            Reply::Dropped => panic!("{what}: recorded an answer, got none"),
        };
        let status = line.get("status").and_then(Json::as_id);
        assert_eq!(status, Some(u64::from(answer.status)), "{what}: {}", answer.body);
        let kind = line.get("content_type").and_then(Json::as_str);
        assert_eq!(kind, answer.content_type, "{what}: content type");
        match line.get("resp").unwrap() {
            Json::String(recorded) => assert_eq!(*recorded, answer.body, "{what}"),
            recorded => {
                let got = Json::parse(answer.body.as_bytes()).unwrap();
                // The target's internal form holds what the recorded images bring along; its shape is compared.
                let values = text(line, "path") != "/v2/local/target-state"
                    || answer.status != 200
                    || number == 0 && file.starts_with("u01");
                if let Some(difference) = difference(recorded, &got, values) {
                    panic!("{what}: {difference}");
                }
            }
        }
    }

    fn later(&mut self, ticket: u64, watch: &mut dyn FnMut(&mut Supervisor, Duration)) -> Answer {
        for _ in 0..500 {
            self.until(self.now + STEP, watch);
            let done = self.effects.iter().find_map(|effect| match effect {
                Effect::Answer { ticket: of, answer } if *of == ticket => Some(answer.clone()),
                _ => None,
            });
            if let Some(answer) = done {
                return answer;
            }
        }
        panic!("no answer came")
    }

    /// Plays a recorded poll: the states have to come in the recorded order, and a state that lasts has to be in it.
    pub(crate) fn poll(&mut self, file: &str, script: &[(u64, At)], tally: &mut Tally) {
        let lines: Vec<Json> = lines(file)
            .into_iter()
            .filter(|line| line.get("status").is_some())
            .collect();
        let start = self.now;
        let end = lines
            .last()
            .and_then(|line| line.get("t").cloned())
            .unwrap()
            .to_text()
            .parse::<f64>()
            .unwrap();
        let mut script = script.to_vec();
        let mut shown: Vec<[String; 3]> = Vec::new();
        let steps = (end * 1000.0) as u64 / 20 + 100;
        for step in 0..steps {
            while script.first().is_some_and(|(at, _)| *at <= step * 20) {
                let (_, what) = script.remove(0);
                self.happen(&what);
            }
            shown.push([
                status_key(&self.get("/v2/state/status")),
                device_key(&self.get("/v1/device")),
                apps_key(&self.get("/v2/applications/state")),
            ]);
            self.until(start + Duration::from_millis(step * 20), &mut |_, _| {});
        }
        let keys: [fn(&Json) -> String; 3] = [
            |line| status_key(line.get("status").unwrap()),
            |line| device_key(line.get("device").unwrap()),
            |line| apps_key(line.get("apps").unwrap()),
        ];
        for (index, key) in keys.iter().enumerate() {
            let recorded = runs(lines.iter().map(key));
            let got = runs(shown.iter().map(|states| states[index].clone()));
            let mut rest = got.iter();
            for (state, _) in &recorded {
                let found = rest.any(|(other, _)| other == state);
                assert!(
                    found,
                    "{file}: recorded state does not come, or not in this order:\n  {state}\nof\n  {recorded:#?}\ngot\n  {got:#?}"
                );
            }
            for (state, steps) in &got {
                // 20 ms a step; the recording looked every 200 ms at three addresses in turn.
                let lasting = *steps > 35 && !recorded.iter().any(|(other, _)| other == state);
                assert!(
                    !lasting,
                    "{file}: a state that was never recorded lasts {} ms:\n  {state}\nof\n  {recorded:#?}",
                    steps * 20
                );
            }
        }
        for _ in &lines {
            tally.compared(file);
        }
    }
}

fn compare_seen(
    file: &str,
    number: usize,
    line: &Json,
    at: Duration,
    seen: &[(Duration, BTreeMap<String, Json>)],
) {
    let path = text(line, "path");
    let recorded = line.get("resp").unwrap();
    let near = seen
        .iter()
        .filter(|(time, _)| time.abs_diff(at) <= Duration::from_millis(1100));
    let mut differences: Vec<String> = Vec::new();
    for (_, answers) in near {
        let Some(got) = answers.get(&path) else { continue };
        match difference(recorded, got, true) {
            None => return,
            Some(difference) => differences.push(difference),
        }
    }
    differences.dedup();
    panic!(
        "{file}:{}: GET {path} at {at:?}: no moment around it agrees: {differences:#?}",
        number + 1
    );
}

fn get(model: &mut Supervisor, now: Duration, path: &str) -> Json {
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

/// The calls the simulator answers: all the agent makes, and a few more.
fn is_ours(path: &str) -> bool {
    let others = [
        "/v2/device/tags",
        "/v1/device/host-config",
        "/v1/apps/",
        "/v2/cleanup-volumes",
        "/v1/blink",
        "/v1/restart",
        "/v1/purge",
        "/v1/shutdown",
        "/purge",
        "?serviceName",
    ];
    !others.iter().any(|other| path.contains(other))
}

fn text(line: &Json, name: &str) -> String {
    line.get(name)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `HH:MM:SS`, seconds.
fn seconds(line: &Json) -> u64 {
    text(line, "ts")
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap())
}

fn runs(states: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    for state in states {
        match all.last_mut() {
            Some((last, count)) if *last == state => *count += 1,
            _ => all.push((state, 1)),
        }
    }
    all
}

fn percent(value: Option<&Json>) -> &'static str {
    match value {
        None => "missing",
        Some(Json::Null) => "null",
        Some(_) => "percent",
    }
}

fn status_key(status: &Json) -> String {
    let containers: Vec<String> = status
        .get("containers")
        .unwrap()
        .items()
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                text(row, "serviceName"),
                text(row, "status"),
                row.get("imageId").unwrap()
            )
        })
        .collect();
    let fetching = status
        .get("images")
        .unwrap()
        .items()
        .iter()
        .any(|row| text(row, "status") == "Downloading");
    let overall = percent(status.get("overallDownloadProgress"));
    format!(
        "{} {overall} {containers:?} fetching {fetching} release {}",
        text(status, "appState"),
        text(status, "release")
    )
}

fn device_key(device: &Json) -> String {
    let flag = |name: &str| device.get(name).map(Json::to_text).unwrap_or_default();
    format!(
        "pending {} failed {} downloaded {} commit {}",
        flag("update_pending"),
        flag("update_failed"),
        flag("update_downloaded"),
        text(device, "commit")
    )
}

fn apps_key(apps: &Json) -> String {
    let app = |(name, app): &(String, Json)| {
        let services: Vec<String> = app
            .get("services")
            .unwrap()
            .members()
            .iter()
            .map(|(name, state)| {
                let progress = percent(state.get("downloadProgress"));
                format!(
                    "{name} {} {progress} {}",
                    text(state, "status"),
                    state.get("releaseId").unwrap()
                )
            })
            .collect();
        format!(
            "{name} {} {} {services:?}",
            text(app, "commit"),
            text(app, "updateStatus")
        )
    };
    apps.members().iter().map(app).collect::<Vec<_>>().join("; ")
}
