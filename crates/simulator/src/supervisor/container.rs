//! Containers as the engine keeps them.

use crate::json::{Json, object};
use crate::supervisor::registry::Behaviour;
use crate::supervisor::target::{App, Service, ServiceConfig};
use std::time::Duration;

/// What the engine says of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started; the Supervisor calls it `Installed` (u05-features: a start that failed).
    Created,
    /// Its process runs.
    Running,
    /// Its process ended and the engine will start it again; still counted as running (moby `SetRestarting`).
    Restarting,
    /// Its process ended and stays so.
    Exited,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// The app it belongs to.
    pub app_id: u64,
    /// The app's uuid.
    pub app_uuid: String,
    /// The service.
    pub service: String,
    /// The service's id.
    pub service_id: u64,
    /// The image's id: part of the name, so a rename changes it.
    pub image_id: u64,
    /// The release's id: part of the name.
    pub release_id: u64,
    /// The release's commit: part of the name.
    pub commit: String,
    /// What it was made from.
    pub config: ServiceConfig,
    /// When it was made.
    pub created: Duration,
    /// Whether it runs.
    pub state: ContainerState,
    /// The Supervisor is stopping it.
    pub stopping: bool,
    /// What its image does.
    pub behaviour: Behaviour,
    /// Rises with each start; a stale timer or exit is told by it.
    pub incarnation: u64,
    /// When it was last started.
    pub started: Duration,
    /// The engine's present restart pause.
    pub pause: Duration,
    /// It was stopped on purpose; the engine leaves it until its own restart.
    pub stopped_by_hand: bool,
}

impl Container {
    /// The name the Supervisor gives it.
    pub fn name(&self) -> String {
        format!(
            "{}_{}_{}_{}",
            self.service, self.image_id, self.release_id, self.commit
        )
    }

    /// What `/v2/state/status` calls its state.
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
    pub(crate) fn is(&self, app: &App, service: &Service) -> bool {
        self.image_id == service.image_id
            && self.release_id == app.release_id
            && Some(&self.commit) == app.commit.as_ref()
    }
}

/// An image the Supervisor knows: a row of its database. Rows are told apart by all their members, so one image
/// can have several (unmanaged.md §9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// The reference.
    pub name: String,
    /// The app.
    pub app_id: u64,
    /// The service.
    pub service: String,
    /// The service's id.
    pub service_id: u64,
    /// The image's id.
    pub image_id: u64,
    /// The release's id.
    pub release_id: u64,
    /// The release's commit.
    pub commit: String,
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
            row.push(("dockerImageId".to_owned(), image_digest(&self.name).into()));
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
    /// Managed only; without a progress (pull-fail-local at 23:16:12).
    Deleting,
}

/// A stand-in for the engine's image id: the same for the same content, however the registry is called.
pub(crate) fn image_digest(reference: &str) -> String {
    let content = reference.rsplit_once('@').map_or(reference, |(_, digest)| digest);
    format!("sha256:{}", hex(content))
}

/// 64 hex digits that depend on the text alone.
pub(crate) fn hex(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn iso(epoch_millis: i64, at: Duration) -> String {
    let millis = epoch_millis.saturating_add(i64::try_from(at.as_millis()).unwrap_or(i64::MAX));
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
        .unwrap_or_default()
}
