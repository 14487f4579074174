//! The Supervisor's reports of its state, with members in the order of the recordings.

use crate::json::{Json, object};
use crate::supervisor::api::Answer;
use crate::supervisor::apply_state::Step;
use crate::supervisor::container::{Container, ImageRow, RowState};
use crate::supervisor::model::Supervisor;
use crate::supervisor::target::App;

/// A service's name; its status, image and progress.
type ServiceState = (String, (&'static str, String, Option<u64>));

impl Supervisor {
    /// `GET /v2/state/status`: the first app only (u05-two-apps); `release` is the last commit that was applied.
    pub(crate) fn state_status(&self) -> Json {
        // The engine lists its containers newest first (observed); those made together keep their order.
        let mut containers: Vec<&Container> = self.containers.iter().collect();
        containers.sort_by_key(|container| std::cmp::Reverse(container.created));
        let pulls: Vec<(&_, u64)> = self
            .apply
            .pulls
            .iter()
            .map(|pull| (&pull.row, pull.percent(self.now)))
            .collect();
        let app = containers
            .iter()
            .map(|container| container.app_id)
            .chain(pulls.iter().map(|(row, _)| row.app_id))
            .chain(self.rows.iter().map(|row| row.app_id))
            .next();
        let of_app = |id: u64| Some(id) == app;
        let rows: Vec<Json> = pulls
            .iter()
            .filter(|(row, _)| of_app(row.app_id))
            .map(|(row, percent)| row.row(RowState::Downloading(*percent)))
            .chain(
                self.rows
                    .iter()
                    .filter(|row| of_app(row.app_id))
                    .map(|row| row.row(self.row_state(row))),
            )
            .collect();
        let overall = match pulls.len() {
            0 => None,
            count => Some(pulls.iter().map(|(_, percent)| percent).sum::<u64>() / count as u64),
        };
        let epoch = self.config.epoch_millis;
        let shown: Vec<Json> = containers
            .iter()
            .filter(|container| of_app(container.app_id))
            .map(|container| container.row(epoch))
            .collect();
        let mut status = vec![
            ("status".to_owned(), Json::from("success")),
            (
                "appState".to_owned(),
                if self.is_applying() { "applying" } else { "applied" }.into(),
            ),
            ("overallDownloadProgress".to_owned(), overall.into()),
            ("containers".to_owned(), shown.into()),
            ("images".to_owned(), rows.into()),
        ];
        if let Some(release) = app.and_then(|app| self.commits.get(&app)) {
            status.push(("release".to_owned(), release.as_str().into()));
        }
        Json::Object(status)
    }

    /// `GET /v1/device`. `status` and `download_progress` are those of the lowest image id of the lowest app, so they
    /// do not show an update (observed); `commit` is missing while applying.
    pub(crate) fn device(&self) -> Json {
        let config = &self.config;
        let applying = self.is_applying();
        let pending = applying && !self.apply.reported;
        let mut device = vec![
            ("api_port".to_owned(), Json::from(u64::from(config.api_port))),
            ("ip_address".to_owned(), config.ip_address.as_str().into()),
            ("os_version".to_owned(), config.os_version.as_str().into()),
            ("mac_address".to_owned(), config.mac_address.as_str().into()),
            ("supervisor_version".to_owned(), config.version.as_str().into()),
            ("update_pending".to_owned(), pending.into()),
            ("update_failed".to_owned(), (pending && self.apply.failed).into()),
            (
                "update_downloaded".to_owned(),
                (pending && self.apply.downloaded).into(),
            ),
        ];
        if let Some((app, status, progress)) = self.first_image() {
            if let Some(commit) = self.commits.get(&app).filter(|_| !applying) {
                device.push(("commit".to_owned(), commit.as_str().into()));
            }
            device.push(("status".to_owned(), status.into()));
            device.extend(progress.map(|progress| ("download_progress".to_owned(), progress)));
        }
        Json::Object(device)
    }

    fn row_state(&self, row: &ImageRow) -> RowState {
        if self.apply.deleting.contains(row) {
            RowState::Deleting
        } else {
            RowState::Downloaded
        }
    }

    fn first_image(&self) -> Option<(u64, &'static str, Option<Json>)> {
        let containers = self.containers.iter().map(|container| {
            let status = if container.status() == "Running" {
                "Idle"
            } else {
                container.status()
            };
            // A container wins over the image row of the same id.
            (
                (container.app_id, container.image_id, 0),
                status,
                Some(Json::Null),
            )
        });
        let pulls = self.apply.pulls.iter().map(|pull| {
            let percent = Json::from(pull.percent(self.now));
            (
                (pull.row.app_id, pull.row.image_id, 1),
                "Downloading",
                Some(percent),
            )
        });
        let rows = self.rows.iter().map(|row| {
            let key = (row.app_id, row.image_id, 2);
            match self.row_state(row) {
                RowState::Deleting => (key, "Deleting", None),
                _ => (key, "Downloaded", Some(Json::Null)),
            }
        });
        let first = containers.chain(pulls).chain(rows).min_by_key(|(key, ..)| *key)?;
        let ((app, ..), status, progress) = first;
        Some((app, status, progress))
    }

    /// `GET /v2/applications/state`: the *target's* apps by name, with the target's commit from the start.
    pub(crate) fn applications_state(&self) -> Json {
        self.target
            .apps
            .iter()
            .map(|app| (app.name.clone(), self.one_application(app)))
            .collect()
    }

    fn one_application(&self, app: &App) -> Json {
        let services = self.service_states(app);
        let any = |status: &str| services.iter().any(|(_, state)| state.0 == status);
        let update = if any("Downloading") {
            "downloading"
        } else if any("Downloaded") {
            "downloaded"
        } else if any("Installed") || any("Stopping") {
            "applying changes"
        } else {
            "done"
        };
        let shown: Json = services
            .into_iter()
            .map(|(name, (status, image, progress))| {
                let state = object! {
                    "status" => status, "image" => image, "downloadProgress" => progress,
                    "releaseId" => app.release_id,
                };
                (name, state)
            })
            .collect();
        object! {
            "appId" => app.id, "appUuid" => app.uuid.as_str(), "commit" => app.commit.clone(),
            "updateStatus" => update, "services" => shown,
        }
    }

    /// Image rows of the target's release first, those of removed services included (u05-poll-good-after-bad), then
    /// what runs.
    fn service_states(&self, app: &App) -> Vec<ServiceState> {
        let running: Vec<&Container> = self
            .containers
            .iter()
            .filter(|container| container.app_id == app.id && Some(&container.commit) == app.commit.as_ref())
            .collect();
        let runs = |name: &str| running.iter().any(|container| container.service == name);
        let mut states: Vec<ServiceState> = Vec::new();
        for row in &self.rows {
            let ours = row.app_id == app.id && Some(&row.commit) == app.commit.as_ref();
            if ours && !runs(&row.service) && !states.iter().any(|(name, _)| *name == row.service) {
                states.push((row.service.clone(), ("Downloaded", row.name.clone(), None)));
            }
        }
        for container in &running {
            let image = container.config.image.clone();
            states.push((container.service.clone(), (container.status(), image, None)));
        }
        for service in &app.services {
            if !states.iter().any(|(name, _)| *name == service.name) {
                let pull = self
                    .apply
                    .pulls
                    .iter()
                    .find(|pull| pull.row.name == service.config.image);
                let percent = pull.map_or(0, |pull| pull.percent(self.now));
                let image = service.config.image.clone();
                states.push((service.name.clone(), ("Downloading", image, Some(percent))));
            }
        }
        states
    }

    /// `GET /v2/applications/:id/state`.
    pub(crate) fn application_state(&self, id: &str) -> Answer {
        let Some(app) = self.target.apps.iter().find(|app| app.id.to_string() == id) else {
            return Answer::failed(409, &format!("Application ID does not exist: {id}"));
        };
        let services: Json = self
            .containers
            .iter()
            .filter(|container| container.app_id == app.id)
            .map(|container| {
                let state = object! {
                    "status" => container.status(), "releaseId" => container.release_id,
                    "download_progress" => Json::Null,
                };
                (container.image_id.to_string(), state)
            })
            .collect();
        let commit = self.commits.get(&app.id).filter(|_| self.step() == Step::Idle);
        let mut state = Vec::new();
        if let Some(commit) = commit {
            state.push(("commit".to_owned(), Json::from(commit.as_str())));
        }
        state.push((
            "local".to_owned(),
            object! { id => object! { "services" => services } },
        ));
        Answer::json(200, &Json::Object(state))
    }

    /// `GET /v2/containerId`.
    pub(crate) fn container_ids(&self) -> Json {
        let ids: Json = self
            .containers
            .iter()
            .map(|container| (container.service.clone(), Json::from(container.id.as_str())))
            .collect();
        object! { "status" => "success", "services" => ids }
    }
}
