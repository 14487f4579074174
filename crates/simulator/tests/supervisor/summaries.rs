//! The parts of recorded lines that are compared.

use baseos_simulator::json::Json;

/// Whether the simulator has this call: it has all that the agent makes, and a few more.
pub(crate) fn is_simulated(path: &str) -> bool {
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

pub(crate) fn text(line: &Json, name: &str) -> String {
    line.get(name)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The seconds of `HH:MM:SS`.
pub(crate) fn seconds(line: &Json) -> u64 {
    text(line, "ts")
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap())
}

/// The states without repetitions, each with the number of times it came in a row.
pub(crate) fn count_runs(states: impl Iterator<Item = String>) -> Vec<(String, usize)> {
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

/// Of `/v2/state/status`.
pub(crate) fn status_summary(status: &Json) -> String {
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

/// Of `/v1/device`.
pub(crate) fn device_summary(device: &Json) -> String {
    let flag = |name: &str| device.get(name).map(Json::to_text).unwrap_or_default();
    format!(
        "pending {} failed {} downloaded {} commit {}",
        flag("update_pending"),
        flag("update_failed"),
        flag("update_downloaded"),
        text(device, "commit")
    )
}

/// Of `/v2/applications/state`.
pub(crate) fn apps_summary(apps: &Json) -> String {
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
