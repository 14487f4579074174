//! Comparison of a recorded and a simulated answer.

use baseos_simulator::json::Json;

/// Members whose values differ between machines; only their type is compared.
const VOLATILE: [&str; 8] = [
    "api_port",
    "containerId",
    "createdAt",
    "dockerImageId",
    "mac_address",
    "downloadProgress",
    "download_progress",
    "overallDownloadProgress",
];

/// The first difference, with its path. Without `values` only types and members are compared.
pub(crate) fn difference(recorded: &Json, got: &Json, values: bool) -> Option<String> {
    walk("$", recorded, got, values)
}

fn walk(at: &str, recorded: &Json, got: &Json, values: bool) -> Option<String> {
    match (recorded, got) {
        (Json::Object(recorded), Json::Object(got)) => objects(at, recorded, got, values),
        (Json::Array(recorded), Json::Array(got)) => arrays(at, recorded, got, values),
        (Json::Null, Json::Null) => None,
        (Json::Bool(_), Json::Bool(_))
        | (Json::Number(_), Json::Number(_))
        | (Json::String(_), Json::String(_)) => {
            let name = at.rsplit('.').next().unwrap_or_default();
            let compare = values
                && !VOLATILE.contains(&name)
                && !at.contains(".containerId")
                && !at.contains("$.services.");
            (compare && recorded != got).then(|| format!("{at}: recorded {recorded}, got {got}"))
        }
        _ => Some(format!("{at}: recorded {recorded}, got {got}")),
    }
}

fn objects(at: &str, recorded: &[(String, Json)], got: &[(String, Json)], values: bool) -> Option<String> {
    // `REL` is from the recorded image; the simulated images have no environment.
    let names = |members: &[(String, Json)]| -> Vec<String> {
        members
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| name != "REL")
            .collect()
    };
    if names(recorded) != names(got) {
        return Some(format!(
            "{at}: recorded members {:?}, got {:?}",
            names(recorded),
            names(got)
        ));
    }
    recorded
        .iter()
        .filter(|(name, _)| name != "REL")
        .find_map(|(name, value)| {
            let other = got
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, other)| other)?;
            walk(&format!("{at}.{name}"), value, other, values)
        })
}

fn arrays(at: &str, recorded: &[Json], got: &[Json], values: bool) -> Option<String> {
    // The recorded device had more images: the form of a row is compared, and that there are rows.
    if at == "$.images" {
        return match (recorded.first(), got.first()) {
            (None, None) => None,
            (Some(first), Some(_)) => got.iter().find_map(|row| walk("$.images.row", first, row, false)),
            _ => Some(format!(
                "{at}: recorded {} rows, got {}",
                recorded.len(),
                got.len()
            )),
        };
    }
    if values && recorded.len() != got.len() {
        return Some(format!(
            "{at}: recorded {} items, got {}",
            recorded.len(),
            got.len()
        ));
    }
    recorded
        .iter()
        .zip(got)
        .enumerate()
        .find_map(|(i, (a, b))| walk(&format!("{at}[{i}]"), a, b, values))
}
