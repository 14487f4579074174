//! A running device.

use crate::clock::unix_millis;
use crate::device::config::DeviceConfig;
use crate::device::effects::run_timers;
use crate::device::shared::Shared;
use crate::device::{control_api, supervisor_api};
use crate::supervisor::{Config, LockFiles, Supervisor};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Everything that it started ends with it.
pub struct Device {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
    pub(crate) control: SocketAddr,
    _temporary_dir: Option<tempfile::TempDir>,
}

impl Device {
    /// Starts a device: its Supervisor is up and has no target.
    ///
    /// # Errors
    /// When its directory cannot be made or a port cannot be bound.
    pub async fn start(config: DeviceConfig) -> io::Result<Self> {
        let (dir, temporary_dir) = match config.dir {
            Some(dir) => (dir, None),
            None => {
                let made = tempfile::Builder::new().prefix("baseos-device-").tempdir()?;
                (made.path().to_owned(), Some(made))
            }
        };
        for sub in ["volumes", "run", "locks", "log", "containers"] {
            std::fs::create_dir_all(dir.join(sub))?;
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(config.listen.unwrap_or(loopback)).await?;
        let address = listener.local_addr()?;
        let control_listener = listen(config.control.unwrap_or(loopback)).await?;
        let control = control_listener.local_addr()?;
        let supervisor = Config {
            address: format!("http://{address}"),
            api_port: address.port(),
            epoch_millis: unix_millis(),
            ..config.supervisor
        };
        let locks = Box::new(LockFiles::new(&dir.join("locks")));
        let model = Supervisor::new(supervisor, config.registry, locks);
        let (listening, watch_listening) = watch::channel(true);
        let mut shared = Shared::new(model, listening);
        shared.dir = dir;
        shared.program = config.program;
        shared.programs_by_image = config.programs_by_image;
        shared.environment = config.environment;
        shared.on_line = config.on_line;
        let shared = Arc::new(shared);
        shared.write_boot_id(0);
        let stop = shared.stop.clone();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(run_timers(Arc::clone(&shared))),
        );
        let serve = supervisor_api::serve(Arc::clone(&shared), Some(listener), address, watch_listening);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        let serve = control_api::serve(Arc::clone(&shared), control_listener);
        tokio::spawn(stop.run_until_cancelled_owned(serve));
        Ok(Self {
            shared,
            address,
            control,
            _temporary_dir: temporary_dir,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for process in self.shared.processes().values() {
            process.signal(rustix::process::Signal::KILL);
        }
        self.shared.stop.cancel();
    }
}

/// With the directory, for the messages of failing tests.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("address", &self.address)
            .field("dir", &self.shared.dir)
            .finish_non_exhaustive()
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}
