//! What a test or a script can do with a device.

use crate::device::{Device, Fault, Logged};
use crate::json::Json;
use crate::supervisor::{LOCK_NAMES, Registry, Reply, Request, Supervisor};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Device {
    /// `http://127.0.0.1:PORT`, where the Supervisor answers.
    pub fn supervisor_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://127.0.0.1:PORT`, where `/sim/…` answers.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// `BASEOS_RUN_DIR`: the agent's socket `api.sock` and its `token`.
    pub fn run_dir(&self) -> PathBuf {
        self.inner.dir.join("run")
    }

    /// The directory of a volume; the agent's state is in `volume_dir(app, "baseos")`.
    pub fn volume_dir(&self, app: u64, name: &str) -> PathBuf {
        self.inner.volume_dir(&format!("{app}_{name}"))
    }

    /// The directory a service sees as `/tmp/balena`.
    pub fn lock_dir(&self, app: u64, service: &str) -> PathBuf {
        self.inner.lock_dir(app, service)
    }

    /// Looks at the model or changes it.
    pub fn model<T>(&self, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        self.inner.with(act)
    }

    /// Posts a local target as the boot service or a stranger would; it is not in the request log.
    pub fn post_target(&self, body: &Json) -> Reply {
        let request = Request {
            method: "POST".to_owned(),
            path: "/v2/local/target-state".to_owned(),
            key: None,
            json: true,
            body: body.to_text().into_bytes(),
        };
        self.inner.with(|model, now| model.handle(now, &request))
    }

    /// `/v2/state/status` as it is now; not in the request log.
    pub fn status(&self) -> Json {
        self.inner.with(|model, now| {
            model.advance(now);
            model.state_status()
        })
    }

    /// Whether this commit is applied and every service's container is `Running`.
    pub fn runs(&self, commit: &str) -> bool {
        let status = self.status();
        let text = |name: &str| status.get(name).and_then(Json::as_str).map(str::to_owned);
        let containers = status.get("containers").map(Json::items).unwrap_or_default();
        text("appState").as_deref() == Some("applied")
            && text("release").as_deref() == Some(commit)
            && !containers.is_empty()
            && containers
                .iter()
                .all(|row| row.get("status").and_then(Json::as_str) == Some("Running"))
    }

    /// Sets a fault.
    pub fn fault(&self, fault: Fault) {
        self.inner.faults().add(fault);
    }

    /// Clears all faults; the port is open again if the Supervisor is there.
    pub fn clear_faults(&self) {
        self.inner.faults().clear();
        self.set_down(false);
    }

    /// Closes the Supervisor's port (connection refused) or opens it; the Supervisor itself goes on.
    pub fn set_down(&self, down: bool) {
        self.inner.set_up(|(_, closed)| *closed = down);
    }

    /// Everything the Supervisor was asked, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.inner.requests().clone()
    }

    /// How often this was asked *and reached* the Supervisor.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let reached =
            |logged: &&Logged| logged.method == method && logged.path == path && logged.has_effect();
        self.inner.requests().iter().filter(reached).count()
    }

    /// Forgets the request log.
    pub fn clear_requests(&self) {
        self.inner.requests().clear();
    }

    /// Restarts the Supervisor's process; its state is kept.
    pub fn restart_supervisor(&self) {
        self.inner.with(Supervisor::restart);
    }

    /// Ends the Supervisor's process; it stays down until it is restarted.
    pub fn crash_supervisor(&self) {
        self.inner.with(Supervisor::crash);
    }

    /// Takes the device's power away and gives it back: processes are killed, the lock directories are empty.
    pub fn power_cycle(&self) {
        self.inner.with(Supervisor::power_cycle);
    }

    /// `docker stop`.
    pub fn stop_container(&self, service: &str) {
        self.inner.with(|model, now| model.stop_by_hand(now, service));
    }

    /// `docker start`.
    pub fn start_container(&self, service: &str) {
        self.inner.with(|model, now| model.start_by_hand(now, service));
    }

    /// `docker rm -f`.
    pub fn delete_container(&self, service: &str) {
        self.inner.with(|model, now| model.delete_by_hand(now, service));
    }

    /// SIGKILL to the process of a service; the engine starts it again.
    pub fn kill(&self, service: &str) {
        self.signal(service, Signal::KILL);
    }

    /// SIGTERM to the process of a service; the engine starts it again when it ends.
    pub fn terminate(&self, service: &str) {
        self.signal(service, Signal::TERM);
    }

    /// SIGSTOP.
    pub fn pause(&self, service: &str) {
        self.signal(service, Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, service: &str) {
        self.signal(service, Signal::CONT);
    }

    fn signal(&self, service: &str, signal: Signal) {
        for process in self
            .inner
            .processes()
            .values()
            .filter(|process| process.service == service)
        {
            process.signal(signal);
        }
    }

    /// The pid of a service's process.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.inner
            .processes()
            .values()
            .find(|process| process.service == service)?
            .pid
    }

    /// How the processes of a service ended, oldest first: exit codes, or 128 and the signal's number.
    pub fn exits(&self, service: &str) -> Vec<i32> {
        self.inner.exits().get(service).cloned().unwrap_or_default()
    }

    /// How often the container of a service was started.
    pub fn starts(&self, service: &str) -> u64 {
        self.inner.with(|model, _| {
            model
                .container(service)
                .map_or(0, |container| container.incarnation)
        })
    }

    /// A service takes balena's update lock, as a program in its container would.
    ///
    /// # Errors
    /// When it is taken already.
    pub fn lock(&self, app: u64, service: &str) -> std::io::Result<()> {
        let dir = self.lock_dir(app, service);
        std::fs::create_dir_all(&dir)?;
        std::fs::File::create_new(dir.join(LOCK_NAMES[0])).map(drop)
    }

    /// … and gives it back.
    pub fn unlock(&self, app: u64, service: &str) {
        let _ = std::fs::remove_file(self.lock_dir(app, service).join(LOCK_NAMES[0]));
    }

    /// Gives the device a backend, and the target it serves at the next `POST /v1/update`.
    ///
    /// # Errors
    /// When the target is not valid.
    pub fn set_backend_target(&self, device: &Json) -> Result<(), String> {
        self.inner.with(|model, _| {
            model.set_managed(true);
            model.set_backend_target(device)
        })
    }

    /// Takes the backend away, or gives it one that serves nothing yet.
    pub fn set_managed(&self, managed: bool) {
        self.inner.with(|model, _| model.set_managed(managed));
    }

    /// Describes images anew.
    pub fn registry(&self, change: impl FnOnce(&mut Registry)) {
        self.inner.with(|model, _| change(&mut model.registry));
    }

    /// Changes the device's own variables; processes started from now on see them.
    pub fn set_environment(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        change(&mut self.inner.environment());
    }

    /// The last lines a service's process wrote.
    pub fn log_tail(&self, service: &str, lines: usize) -> String {
        let text = std::fs::read_to_string(self.inner.log_file(service)).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// What the Supervisor logged, for messages.
    pub fn supervisor_log(&self) -> String {
        self.inner.with(|model, _| {
            let line = |(at, line): &(Duration, String)| format!("{:>8.3} {line}\n", at.as_secs_f64());
            model.log.iter().map(line).collect()
        })
    }
}

impl Logged {
    /// Whether it came to the Supervisor, as opposed to a fault that answered in its place.
    pub fn has_effect(&self) -> bool {
        use super::FaultKind as Kind;
        matches!(
            self.fault,
            None | Some(Kind::Slow { .. } | Kind::WrongContentType | Kind::Truncated | Kind::DroppedAfter)
        )
    }
}
