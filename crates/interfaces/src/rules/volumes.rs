//! What a named volume is made with.
//!
//! The Supervisor deletes and recreates a volume whose definition changes: its data is gone (observed:
//! u04-volume-change). So the agent compares definitions before it hands over a release, exactly as the Supervisor
//! will.

use super::violation::{Found, shown};
use crate::codes::FieldCode;
use crate::collect::CollectTree as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Labels the Supervisor adds itself and leaves out of the comparison (observed: u04-get-target; source). All others
/// count, those of balena too.
const SUPERVISOR_LABELS: [&str; 3] = [
    "io.balena.supervised",
    "io.resin.supervised",
    "io.balena.app-uuid",
];

/// A volume's definition in the one form in which two can be compared: equal definitions are one volume, others make
/// the Supervisor delete it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDefinition {
    driver: Value,
    driver_opts: Value,
    labels: Value,
}

impl VolumeDefinition {
    /// Of a release (compose form): `driver`, `driver_opts`, `labels`. The Supervisor reads no other member, and no
    /// other spelling (source).
    pub fn from_compose(definition: &Map<String, Value>) -> Self {
        Self::new(definition, "driver_opts")
    }

    /// Of the Supervisor's `GET /v2/local/target-state`: `driver`, `driverOpts`, `labels`.
    pub fn from_supervisor(definition: &Map<String, Value>) -> Self {
        Self::new(definition, "driverOpts")
    }

    fn new(definition: &Map<String, Value>, options: &str) -> Self {
        let part = |name: &str| definition.get(name).filter(|value| !is_unset(value)).cloned();
        let empty = || Value::Object(Map::new());
        let labels = part("labels").map_or_else(empty, normal_labels);
        Self {
            driver: part("driver").unwrap_or_else(|| "local".into()),
            driver_opts: part(options).unwrap_or_else(empty),
            labels,
        }
    }
}

/// Labels as the Supervisor keeps them: a list is read by index, balena's earlier names become the present ones unless
/// those are there too, and its own labels do not count (source).
fn normal_labels(labels: Value) -> Value {
    const EARLIER: &str = "io.resin.";
    let labels: Map<String, Value> = match labels {
        Value::Object(labels) => labels,
        Value::Array(items) => (0u32..)
            .zip(items)
            .map(|(index, item)| (index.to_string(), item))
            .collect_tree(),
        other => return other,
    };
    let (earlier, mut normal): (Map<_, _>, Map<_, _>) = labels
        .into_iter()
        .partition(|(name, _)| name.starts_with(EARLIER));
    for (name, value) in earlier {
        normal.entry(name.replace("resin", "balena")).or_insert(value);
    }
    normal.retain(|name, _| !SUPERVISOR_LABELS.contains(&name.as_str()));
    Value::Object(normal)
}

/// `null` and `""` count as missing (source).
fn is_unset(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// `driver` is text, `driver_opts` and `labels` hold texts: the engine takes nothing else, and the Supervisor reads a
/// list of labels as labels named `0`, `1` …
pub(super) fn check(name: &str, definition: &Map<String, Value>, found: &mut Found) {
    let shown = shown(name);
    if let Some(driver) = definition.get("driver")
        && !driver.is_null()
        && !driver.is_string()
    {
        let message =
            format!("the driver of the volume `{shown}` is not text: use e.g. \"local\", or leave it out");
        found.add(&["volumes", name, "driver"], FieldCode::NotAVolume, message);
    }
    for part in ["driver_opts", "labels"] {
        let right = match definition.get(part) {
            None | Some(Value::Null) => true,
            Some(Value::Object(members)) => members.values().all(Value::is_string),
            Some(_) => false,
        };
        if !right {
            let message = format!(
                "{part} of the volume `{shown}` is not an object of texts: use {{\"name\": \"value\"}}"
            );
            found.add(&["volumes", name, part], FieldCode::NotAVolume, message);
        }
    }
    if definition.contains_key("driverOpts") {
        let message = format!(
            "the volume `{shown}` has driverOpts, which the Supervisor does not read in a release: write driver_opts"
        );
        found.add(&["volumes", name, "driverOpts"], FieldCode::NotAVolume, message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other}"),
        }
    }

    fn compose(value: Value) -> VolumeDefinition {
        VolumeDefinition::from_compose(&object(value))
    }

    fn supervisor(value: Value) -> VolumeDefinition {
        VolumeDefinition::from_supervisor(&object(value))
    }

    #[test]
    fn what_the_supervisor_makes_of_a_definition_is_equal_to_it() {
        let own = json!({ "io.balena.supervised": "true", "io.balena.app-uuid": "1" });
        let empty = supervisor(json!({ "driver": "local", "driverOpts": {}, "labels": own }));
        for same in [
            json!({}),
            json!({ "driver": "local", "driver_opts": {}, "labels": {} }),
            json!({ "driver": null, "driver_opts": null, "labels": null }),
            json!({ "driver": "" }),
        ] {
            assert_eq!(compose(same.clone()), empty, "{same}");
        }
        let bind = json!({ "type": "none", "o": "bind", "device": "/mnt" });
        assert_eq!(
            compose(json!({ "driver_opts": bind })),
            supervisor(json!({ "driver": "local", "driverOpts": bind, "labels": own })),
        );
    }

    #[test]
    fn what_makes_the_supervisor_delete_a_volume_is_a_difference() {
        for other in [
            json!({ "driver": "nfs" }),
            json!({ "driver_opts": { "type": "tmpfs" } }),
            json!({ "labels": { "x": "y" } }),
            json!({ "labels": { "io.balena.mine": "1" } }),
            json!({ "labels": ["x=y"] }),
        ] {
            assert_ne!(compose(other.clone()), compose(json!({})), "{other}");
        }
    }

    #[test]
    fn labels_are_normalised_as_the_supervisor_does_it() {
        let same = |release: Value, target: Value| {
            assert_eq!(
                compose(json!({ "labels": release })),
                supervisor(json!({ "driver": "local", "labels": target })),
            );
        };
        same(json!(["a=b", "c"]), json!({ "0": "a=b", "1": "c" }));
        same(
            json!({ "io.resin.features.resin-api": "1" }),
            json!({ "io.balena.features.balena-api": "1" }),
        );
        same(
            json!({ "io.resin.mine": "old", "io.balena.mine": "new" }),
            json!({ "io.balena.mine": "new" }),
        );
        same(
            json!({ "io.resin.supervised": "true", "io.balena.app-uuid": "9" }),
            json!({}),
        );
        same(json!([]), json!({}));
    }

    #[test]
    fn each_side_reads_only_its_own_spelling_of_the_options() {
        let options = json!({ "type": "tmpfs" });
        assert_eq!(compose(json!({ "driverOpts": options })), compose(json!({})));
        assert_eq!(
            supervisor(json!({ "driver_opts": options })),
            supervisor(json!({}))
        );
    }

    #[test]
    fn a_definition_is_stored_as_driver_options_and_labels() {
        let stored = json!({ "driver": "local", "driverOpts": {}, "labels": {} });
        assert_eq!(serde_json::to_value(compose(json!({}))).unwrap(), stored);
        assert_eq!(
            serde_json::from_value::<VolumeDefinition>(stored).unwrap(),
            compose(json!({}))
        );
    }

    #[test]
    fn a_definition_the_engine_cannot_take_is_refused() {
        let codes = |definition: Value| found_by(|found| check("data", &object(definition), found));
        assert_eq!(
            codes(json!({ "driver": "local", "driver_opts": { "o": "bind" }, "labels": null })),
            [""; 0]
        );
        assert_eq!(codes(json!({ "driver": 1 })), ["/volumes/data/driver notAVolume"]);
        assert_eq!(
            codes(json!({ "driver_opts": { "size": 1 } })),
            ["/volumes/data/driver_opts notAVolume"]
        );
        assert_eq!(
            codes(json!({ "labels": ["a=b"] })),
            ["/volumes/data/labels notAVolume"]
        );
        assert_eq!(
            codes(json!({ "driverOpts": {} })),
            ["/volumes/data/driverOpts notAVolume"]
        );
    }
}
