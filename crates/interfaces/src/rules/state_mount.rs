//! Where the agent's state lives: in which named volume, and where in it.

use super::mounts::{Mount, MountSource, components, mounts, tmpfs};
use super::parts::ServiceParts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The variable in the agent's environment that says where its state lives.
pub const AGENT_STATE_DIR_VARIABLE: &str = "BASEOS_STATE_DIR";
/// Where the agent's state lives unless its environment says otherwise.
pub const AGENT_STATE_DIR: &str = "/data/baseos";

/// A place in a named volume. Two releases whose agents have the same place share the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatePlace {
    /// The volume, without the app's prefix.
    pub volume: String,
    /// The directory in it, without a leading `/`; empty: its root.
    pub path: String,
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the volume `{}`", self.volume),
            path => write!(f, "`{path}` in the volume `{}`", self.volume),
        }
    }
}

/// Where a service with these mounts (short form, without the app's prefix) keeps what it writes at `dir`.
pub fn state_place_in(dir: &str, mounts: &[String]) -> Option<StatePlace> {
    let mounts = mounts.iter().map(String::as_str).map(Value::from).collect();
    let mut composition = Map::new();
    composition.insert("volumes".to_owned(), Value::Array(mounts));
    place_of(dir, &composition)
}

/// Where a service keeps what it writes at its state directory (`BASEOS_STATE_DIR` in its environment, else
/// `/data/baseos`); `None`: it is lost with the container, or cannot be written.
///
/// Of several mounts above the directory the innermost one counts, as in the container.
pub fn state_place(service: &ServiceParts<'_>) -> Option<StatePlace> {
    let dir = service.environment.get(AGENT_STATE_DIR_VARIABLE);
    place_of(dir.map_or(AGENT_STATE_DIR, String::as_str), service.composition)
}

fn place_of(dir: &str, composition: &Map<String, Value>) -> Option<StatePlace> {
    let depth = |mount: &Mount<'_>| Some(components(mount.target?)?.len());
    // Of two at one place the later one counts.
    let innermost = mounts(composition)
        .filter(|mount| mount.covers(dir))
        .max_by_key(depth)?;
    let hidden_by = tmpfs(composition)
        .filter(|target| Mount::tmpfs(target).covers(dir))
        .filter_map(|target| Some(components(target)?.len()))
        .max();
    let above = depth(&innermost)?;
    // A Supervisor that took host paths would mount one further in over the volume.
    let host_path = mounts(composition)
        .filter(|mount| matches!(mount.source, MountSource::HostPath(_)) && mount.is_above(dir))
        .filter_map(|mount| depth(&mount))
        .max();
    if hidden_by.max(host_path).is_some_and(|hiding| hiding >= above) || innermost.read_only {
        return None;
    }
    let below = components(dir)?;
    Some(StatePlace {
        volume: innermost.volume()?.to_owned(),
        path: below.get(above..)?.join("/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(dir: &str, composition: Value) -> Option<(String, String)> {
        let Value::Object(composition) = composition else {
            panic!("{composition}");
        };
        place_of(dir, &composition).map(|place| (place.volume, place.path))
    }

    fn at(volume: &str, path: &str) -> Option<(String, String)> {
        Some((volume.to_owned(), path.to_owned()))
    }

    #[test]
    fn the_state_is_in_the_innermost_volume_above_its_directory() {
        let dir = "/data/baseos";
        assert_eq!(place(dir, json!({ "volumes": ["a:/data/baseos"] })), at("a", ""));
        assert_eq!(place(dir, json!({ "volumes": ["a:/data"] })), at("a", "baseos"));
        let both = json!({ "volumes": ["b:/data/baseos/", "a:/data"] });
        assert_eq!(place(dir, both), at("b", ""));
        let long = json!({ "volumes": [{ "type": "volume", "source": "a", "target": "/data" }] });
        assert_eq!(place("/data/x/y", long), at("a", "x/y"));
    }

    #[test]
    fn a_place_that_is_lost_or_cannot_be_written_is_none() {
        let dir = "/data/baseos";
        for volumes in [
            json!([]),
            json!(["a:/other"]),
            json!(["a:/data/baseos:ro"]),
            json!(["/mnt:/data/baseos"]),
            json!(["a:/data", "/data/baseos"]),
            json!(["a:/data", "/mnt:/data/baseos"]),
            json!(["a:/data", { "type": "bind", "source": "/mnt", "target": "/data/baseos" }]),
            json!(["a:/data", "b:/data/baseos:ro"]),
            json!([{ "type": "volume", "source": "a", "target": "/data", "read_only": "true" }]),
            json!([{ "type": "volume", "source": "a", "target": "/data", "read_only": true }]),
            json!(["a:/data", { "type": "tmpfs", "target": "/data/baseos" }]),
        ] {
            assert_eq!(place(dir, json!({ "volumes": volumes })), None, "{volumes}");
        }
        for tmpfs in [
            json!("/data/baseos"),
            json!(["/x", "/data/baseos:size=1m"]),
            json!("/data"),
        ] {
            let composition = json!({ "volumes": ["a:/data"], "tmpfs": tmpfs });
            assert_eq!(place(dir, composition), None, "{tmpfs}");
        }
        let beside = json!({ "volumes": ["a:/data"], "tmpfs": "/data/other" });
        assert_eq!(place(dir, beside), at("a", "baseos"));
    }
}
