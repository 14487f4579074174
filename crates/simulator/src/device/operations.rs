//! What a test or a script can do with a device.

use crate::device::faults::Fault;
use crate::device::handle::Device;
use crate::device::log_streams::LogListeners;
use crate::device::request_log::LoggedRequest;
use crate::device::shared::Shared;
use crate::json::Json;
use crate::supervisor::{Reply, Request, Supervisor};
use crate::text::last_lines;
use rustix::process::Signal;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

impl Device {
    /// `http://127.0.0.1:PORT`, where the Supervisor answers.
    pub fn supervisor_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://127.0.0.1:PORT`, where the control API (`/sim/…`) answers.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// `BASEOS_RUN_DIR`: the agent's socket `api.sock` and its `token`.
    pub fn run_dir(&self) -> PathBuf {
        self.shared.dir.join("run")
    }

    /// The agent's state is in `volume_dir(app, "baseos")`.
    pub fn volume_dir(&self, app: u64, name: &str) -> PathBuf {
        self.shared.volume_dir(&format!("{app}_{name}"))
    }

    /// The directory that a service sees as `/tmp/balena`.
    pub fn lock_dir(&self, app: u64, service: &str) -> PathBuf {
        self.shared.lock_dir(app, service)
    }

    /// Reads or changes the model.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut Supervisor, Duration) -> T) -> T {
        self.shared.with(act)
    }

    /// Posts a local target as somebody other than the agent; it is not in the request log.
    pub fn post_target(&self, body: &Json) -> Reply {
        self.shared.post_target(body.to_text().into_bytes())
    }

    /// `/v2/state/status`; not in the request log.
    pub fn status(&self) -> Json {
        self.shared.with(|model, now| {
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

    pub fn add_fault(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// Clears all faults; the port is open again if the Supervisor is there.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    /// Closes the Supervisor's port (connection refused) or opens it; the Supervisor itself goes on.
    pub fn set_port_closed(&self, closed: bool) {
        self.shared.set_port_closed(closed);
    }

    /// All requests to the Supervisor, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.requests().clone()
    }

    /// How many of these requests *reached* the Supervisor.
    pub fn count_requests(&self, method: &str, path: &str) -> usize {
        let requests = self.shared.requests();
        let matching = requests
            .iter()
            .filter(|logged| logged.method == method && logged.path == path);
        matching.filter(|logged| logged.reached_the_supervisor()).count()
    }

    pub fn clear_requests(&self) {
        self.shared.requests().clear();
    }

    /// Restarts the Supervisor's process; its state is kept.
    pub fn restart_supervisor(&self) {
        self.shared.with(Supervisor::restart);
    }

    /// Restarts the Supervisor's process without its database.
    pub fn lose_database(&self) {
        self.shared.with(Supervisor::lose_database);
    }

    /// Ends the Supervisor's process; it stays down until it is restarted.
    pub fn crash_supervisor(&self) {
        self.shared.with(Supervisor::crash);
    }

    /// Switches the device off and on: processes are killed, the lock directories are empty afterwards.
    pub fn power_cycle(&self) {
        self.shared.with(Supervisor::power_cycle);
    }

    /// `docker stop`
    pub fn stop_container(&self, service: &str) {
        self.shared.with(|model, now| model.stop_container(now, service));
    }

    /// `docker start`
    pub fn start_container(&self, service: &str) {
        self.shared.with(|model, now| model.start_container(now, service));
    }

    /// `docker rm -f`
    pub fn delete_container(&self, service: &str) {
        self.shared
            .with(|model, now| model.delete_container(now, service));
    }

    /// SIGKILL to the processes of a service; the engine starts them again.
    pub fn kill(&self, service: &str) {
        self.signal(service, Signal::KILL);
    }

    /// SIGTERM to the processes of a service; the engine starts them again when they have ended.
    pub fn terminate(&self, service: &str) {
        self.signal(service, Signal::TERM);
    }

    fn signal(&self, service: &str, signal: Signal) {
        let processes = self.shared.processes();
        for process in processes.values().filter(|process| process.service == service) {
            process.signal(signal);
        }
    }

    /// Of the service's process.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.shared
            .processes()
            .values()
            .find(|process| process.service == service)?
            .pid
    }

    /// Of the service's processes that have ended, oldest first; 128 plus the number of a signal that ended one.
    pub fn exit_codes(&self, service: &str) -> Vec<i32> {
        self.shared.exit_codes().get(service).cloned().unwrap_or_default()
    }

    /// How often the container of a service was started.
    pub fn starts(&self, service: &str) -> u64 {
        self.shared.with(|model, _| {
            model
                .container(service)
                .map_or(0, |container| container.incarnation)
        })
    }

    /// Takes balena's update lock as a program in the service's container would.
    ///
    /// # Errors
    /// When it is taken already.
    pub fn take_lock(&self, app: u64, service: &str) -> io::Result<()> {
        self.shared.take_lock(app, service)
    }

    pub fn release_lock(&self, app: u64, service: &str) {
        self.shared.release_lock(app, service);
    }

    /// Gives the device a backend, and the target that it serves at the next `POST /v1/update`.
    ///
    /// # Errors
    /// When the target is not valid.
    pub fn set_backend_target(&self, device: &Json) -> Result<(), String> {
        self.shared.set_backend_target(device)
    }

    /// Removes the backend, or gives the device one that serves no target yet.
    pub fn set_managed(&self, managed: bool) {
        self.shared.with(|model, _| model.set_managed(managed));
    }

    /// The last lines that a service's processes wrote.
    pub fn log_tail(&self, service: &str, lines: usize) -> String {
        let text = std::fs::read_to_string(self.shared.log_file(service)).unwrap_or_default();
        last_lines(&text, lines)
    }

    /// A line of a service's container, as `GET /v2/local/logs` shows it.
    pub fn write_log_line(&self, service: &str, line: &str) {
        self.shared.log_line(service, line);
    }

    /// The clients of `GET /v2/local/logs`.
    pub fn log_listeners(&self) -> LogListeners {
        self.shared.log_streams.listeners()
    }

    /// Ends all streams of `GET /v2/local/logs`; the Supervisor itself goes on.
    pub fn close_log_streams(&self) {
        self.shared.log_streams.close_all();
    }

    /// What happened in the model, for messages.
    pub fn supervisor_log(&self) -> String {
        self.shared.with(|model, _| {
            let line = |(at, line): &(Duration, String)| format!("{:>8.3} {line}\n", at.as_secs_f64());
            model.log.iter().map(line).collect()
        })
    }
}

impl Shared {
    pub(crate) fn post_target(self: &Arc<Self>, body: Vec<u8>) -> Reply {
        self.with(|model, now| model.handle(now, &Request::post_target(body)))
    }

    pub(crate) fn set_backend_target(self: &Arc<Self>, device: &Json) -> Result<(), String> {
        self.with(|model, _| {
            model.set_managed(true);
            model.set_backend_target(device)
        })
    }
}
