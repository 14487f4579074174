//! What the Supervisor makes of a volume's definition, and when two definitions are one volume (source: `volume.ts`,
//! `utils.ts`; u04-get-target, u04-volume-change).

use crate::json::{Json, object};

/// Labels that do not count in a comparison.
const OWN_LABELS: [&str; 3] = [
    "io.resin.supervised",
    "io.balena.supervised",
    "io.balena.app-uuid",
];

/// As `GET /v2/local/target-state` shows it.
pub(crate) fn config(definition: &Json, app_uuid: &str) -> Json {
    let mut labels = labels(definition);
    for (name, value) in [("io.balena.supervised", "true"), ("io.balena.app-uuid", app_uuid)] {
        labels.retain(|(known, _)| known != name);
        labels.push((name.to_owned(), value.into()));
    }
    object! {
        "driverOpts" => set(definition, "driver_opts").unwrap_or(Json::Object(Vec::new())),
        "driver" => set(definition, "driver").unwrap_or_else(|| "local".into()),
        "labels" => Json::Object(labels),
    }
}

/// Whether a volume of the one definition is kept when the other is posted.
pub(crate) fn is_same(one: &Json, other: &Json) -> bool {
    let compared = |definition: &Json| {
        let mut labels = labels(definition);
        labels.retain(|(name, _)| !OWN_LABELS.contains(&name.as_str()));
        let config = config(definition, "");
        object! {
            "driverOpts" => config.get("driverOpts").cloned(), "driver" => config.get("driver").cloned(),
            "labels" => Json::Object(labels),
        }
    };
    compared(one).is_same(&compared(other))
}

/// A list is an object of its indexes, and balena's earlier names become the present ones.
fn labels(definition: &Json) -> Vec<(String, Json)> {
    let given = match definition.get("labels") {
        Some(Json::Array(items)) => (0u32..)
            .zip(items)
            .map(|(index, item)| (index.to_string(), item.clone()))
            .collect(),
        Some(labels) => labels.members().to_vec(),
        None => Vec::new(),
    };
    let (earlier, mut labels): (Vec<_>, Vec<_>) = given
        .into_iter()
        .partition(|(name, _)| name.starts_with("io.resin."));
    for (name, value) in earlier {
        let name = name.replace("resin", "balena");
        if !labels.iter().any(|(known, _)| *known == name) {
            labels.push((name, value));
        }
    }
    labels
}

fn set(definition: &Json, name: &str) -> Option<Json> {
    definition
        .get(name)
        .filter(|value| !matches!(value, Json::Null) && value.as_str() != Some(""))
        .cloned()
}
