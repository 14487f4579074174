//! Containers and images as the engine keeps them.

use crate::json::{Json, object};
use crate::supervisor::image_store::StoredImage;
use crate::supervisor::registry::Behaviour;
use crate::supervisor::target::{App, Service, ServiceConfig};
use std::time::Duration;

/// What the engine says about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started; the Supervisor calls it `Installed` (u05-features: a start that failed).
    Created,
    Running,
    /// Its process ended and the engine will start it again; still counted as running (moby `SetRestarting`).
    Restarting,
    /// Its process ended and is not started again.
    Exited,
}

/// Why a container is being stopped: decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The apply replaces or removes it.
    Apply,
    /// A call restarts it.
    Restart,
    /// The API call `stop-service`, or `docker stop`.
    Manual,
}

#[derive(Clone, Debug)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    pub app_id: u64,
    pub app_uuid: String,
    pub service: String,
    pub service_id: u64,
    /// Part of the name, so a rename changes it.
    pub image_id: u64,
    /// Part of the name.
    pub release_id: u64,
    /// Part of the name.
    pub commit: String,
    /// What it was made from.
    pub config: ServiceConfig,
    /// The image that runs in it; not always the one that the reference in `config` names.
    pub(crate) image: StoredImage,
    pub created: Duration,
    pub state: ContainerState,
    /// The Supervisor is stopping it.
    pub stopping: bool,
    pub behaviour: Behaviour,
    /// Rises with each start; tells a stale timer or exit from a current one.
    pub incarnation: u64,
    /// When it was last started.
    pub started: Duration,
    /// The engine's present pause before a restart.
    pub restart_pause: Duration,
    /// The Supervisor's database was lost since it was made: the next apply makes it again (observed).
    pub forgotten: bool,
    /// Stopped by `docker stop` or `stop-service`.
    pub stopped_manually: bool,
}

impl Container {
    /// The name the Supervisor gives it.
    pub fn name(&self) -> String {
        format!(
            "{}_{}_{}_{}",
            self.service, self.image_id, self.release_id, self.commit
        )
    }

    /// Its state in `/v2/state/status`.
    pub fn status(&self) -> &'static str {
        if self.stopping {
            return "Stopping";
        }
        match self.state {
            ContainerState::Created => "Installed",
            ContainerState::Restarting if matches!(self.behaviour, Behaviour::Flaps { .. }) => "exited",
            ContainerState::Running | ContainerState::Restarting => "Running",
            ContainerState::Exited => "exited",
        }
    }

    /// Its row in `/v2/state/status`.
    pub(crate) fn row(&self, epoch_millis: i64) -> Json {
        object! {
            "status" => self.status(),
            "serviceName" => self.service.as_str(),
            "appId" => self.app_id,
            "imageId" => self.image_id,
            "serviceId" => self.service_id,
            "containerId" => self.id.as_str(),
            "createdAt" => iso(epoch_millis, self.created),
        }
    }

    /// Whether it is exactly what the target asks for, name included.
    pub(crate) fn matches(&self, app: &App, service: &Service) -> bool {
        self.image_id == service.image_id
            && self.release_id == app.release_id
            && Some(&self.commit) == app.commit.as_ref()
    }
}

/// An image that the Supervisor knows: a row of its database. A row is identified by all its members, so one image
/// can have several rows (observed).
#[derive(Clone, Debug)]
pub struct ImageRow {
    /// The reference.
    pub name: String,
    pub app_id: u64,
    pub service: String,
    pub service_id: u64,
    pub image_id: u64,
    pub release_id: u64,
    pub commit: String,
    /// The engine's id as it was when the row was made; it is not looked up again (with-agent, E4).
    pub docker_image_id: String,
}

/// The engine's id does not count: it is what the row says of the image, not which image it is about.
impl PartialEq for ImageRow {
    fn eq(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.app_id, row.service_id, row.image_id, row.release_id);
        (key(self), &self.name, &self.service, &self.commit)
            == (key(other), &other.name, &other.service, &other.commit)
    }
}

impl ImageRow {
    pub(crate) fn of(app: &App, service: &Service) -> Self {
        Self {
            name: service.config.image.clone(),
            app_id: app.id,
            service: service.name.clone(),
            service_id: service.id,
            image_id: service.image_id,
            release_id: app.release_id,
            commit: app.commit.clone().unwrap_or_default(),
            docker_image_id: String::new(),
        }
    }

    /// Its row in `/v2/state/status`.
    pub(crate) fn row(&self, state: RowState) -> Json {
        let mut row = vec![
            ("name".to_owned(), Json::from(self.name.as_str())),
            ("appId".to_owned(), self.app_id.into()),
            ("serviceName".to_owned(), self.service.as_str().into()),
            ("imageId".to_owned(), self.image_id.into()),
        ];
        // While an image is fetched the engine has no id for it: the member is missing.
        let (status, progress) = match state {
            RowState::Downloading(percent) => ("Downloading", Some(Json::from(percent))),
            RowState::Downloaded => ("Downloaded", Some(Json::Null)),
            RowState::Deleting => ("Deleting", None),
        };
        if status != "Downloading" {
            row.push(("dockerImageId".to_owned(), self.docker_image_id.as_str().into()));
        }
        row.push(("status".to_owned(), status.into()));
        row.extend(progress.map(|progress| ("downloadProgress".to_owned(), progress)));
        Json::Object(row)
    }
}

/// What happens to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    Downloading(u64),
    Downloaded,
    /// Managed only; has no progress (pull-fail-local at 23:16:12).
    Deleting,
}

fn iso(epoch_millis: i64, at: Duration) -> String {
    let millis = epoch_millis.saturating_add(i64::try_from(at.as_millis()).unwrap_or(i64::MAX));
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
        .unwrap_or_default()
}
