//! What a service mounts: the `volumes` of its composition.

use super::compose_keys::camel_case;
use super::names::canonical_key;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One mount of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mount<'a> {
    /// What is mounted.
    pub(super) source: MountSource<'a>,
    /// Where in the container; `None`: it does not say.
    pub(super) target: Option<&'a str>,
    /// Whether the Supervisor takes it: the long form must say `"type": "volume"` for a named volume (source).
    pub(super) honoured: bool,
    /// Whether the service can only read it.
    pub(super) read_only: bool,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MountSource<'a> {
    /// A named volume of the release.
    Volume(&'a str),
    /// A path of the host. The Supervisor leaves such mounts out and says so only in its log (source).
    HostPath(&'a str),
    /// Nothing that outlives the container: an anonymous volume or a tmpfs.
    Nothing,
}

impl<'a> Mount<'a> {
    /// The named volume, if it is one.
    pub(super) fn volume(&self) -> Option<&'a str> {
        match self.source {
            MountSource::Volume(name) => Some(name),
            MountSource::HostPath(_) | MountSource::Nothing => None,
        }
    }

    /// Whether what the service does at this path happens in this mount.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.honoured && self.is_above(path)
    }

    /// Whether it is at this path or above it, honoured or not.
    pub(super) fn is_above(&self, path: &str) -> bool {
        self.target.is_some_and(|target| covers(target, path))
    }

    /// A tmpfs of the compose key of that name.
    pub(super) fn tmpfs(target: &'a str) -> Self {
        Self {
            source: MountSource::Nothing,
            target: Some(target),
            honoured: true,
            read_only: false,
        }
    }
}

/// The mounts of a composition: of the short form `source:target[:mode]` and the long form with `source` and `target`.
/// What is neither is passed over, as the Supervisor does (source).
pub(super) fn mounts(composition: &Map<String, Value>) -> impl Iterator<Item = Mount<'_>> {
    composition
        .iter()
        .filter(|(key, _)| canonical_key(key) == "volumes")
        .filter_map(|(_, value)| value.as_array())
        .flatten()
        .filter_map(|entry| match entry {
            Value::String(short) => Some(short_form(short)),
            Value::Object(long) => long_form(long),
            _ => None,
        })
}

/// Where tmpfs are mounted, without their options.
pub(super) fn tmpfs(composition: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let values = composition.iter().filter(|(key, _)| camel_case(key) == "tmpfs");
    let texts = values.flat_map(|(_, value)| match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    });
    texts
        .filter_map(Value::as_str)
        .map(|text| text.split(':').next().unwrap_or(text))
}

/// The places at which more than one thing is mounted, host paths and tmpfs included; each once.
pub(super) fn shared_targets(composition: &Map<String, Value>) -> Vec<&str> {
    let targets = mounts(composition).filter_map(|mount| mount.target);
    let mut seen: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
    let mut shared = Vec::new();
    for target in targets.chain(tmpfs(composition)) {
        let Some(place) = components(target) else { continue };
        let times = seen.entry(place).or_default();
        *times += 1;
        if *times == 2 {
            shared.push(target);
        }
    }
    shared
}

/// Whether a mount at `target` holds `path`: the same place or one above it. Both are absolute; a path with `..` is
/// held by nothing, and nothing can be mounted at `/`.
fn covers(target: &str, path: &str) -> bool {
    let (Some(above), Some(below)) = (components(target), components(path)) else {
        return false;
    };
    !above.is_empty() && below.starts_with(&above)
}

/// The names in an absolute path; `None` when it is not absolute or goes up.
pub(super) fn components(path: &str) -> Option<Vec<&str>> {
    let names = path.strip_prefix('/')?.split('/');
    let names: Vec<_> = names.filter(|name| !matches!(*name, "" | ".")).collect();
    (!names.contains(&"..")).then_some(names)
}

fn short_form(text: &str) -> Mount<'_> {
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or("");
    let target = parts.next();
    if target.is_none() && source.starts_with('/') {
        // An anonymous volume at this place.
        return Mount::tmpfs(source);
    }
    let source = named(source);
    Mount {
        source,
        target,
        // The Supervisor leaves out paths of the host, so they hide nothing.
        honoured: !matches!(source, MountSource::HostPath(_)),
        read_only: parts
            .next()
            .is_some_and(|mode| mode.split(',').any(|flag| flag.trim() == "ro")),
    }
}

fn long_form(entry: &Map<String, Value>) -> Option<Mount<'_>> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let kind = text("type");
    let target = text("target");
    let source = match entry.get("source") {
        None => MountSource::Nothing,
        Some(Value::String(source)) => named(source),
        Some(_) => return None,
    };
    let honoured = match source {
        MountSource::Volume(_) => kind == Some("volume"),
        MountSource::HostPath(_) => false,
        MountSource::Nothing => matches!(kind, Some("volume" | "tmpfs")),
    };
    Some(Mount {
        source,
        target,
        honoured: honoured && target.is_some(),
        // Anything but `false` is one for the engine, or an error.
        read_only: ["read_only", "readOnly"]
            .iter()
            .filter_map(|key| entry.get(*key))
            .any(|value| !value.is_null() && value != false),
    })
}

fn named(source: &str) -> MountSource<'_> {
    if source.starts_with('/') {
        MountSource::HostPath(source)
    } else {
        MountSource::Volume(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(volumes: Value) -> Option<(MountSource<'static>, Option<String>, bool)> {
        let composition: &'static Map<String, Value> =
            Box::leak(Box::new(Map::from_iter([("volumes".to_owned(), volumes)])));
        let mount = mounts(composition).next()?;
        Some((
            mount.source,
            mount.target.map(str::to_owned),
            mount.volume().is_some() && mount.covers("/data/baseos") && !mount.read_only,
        ))
    }

    #[test]
    fn the_short_form_is_read_as_the_supervisor_reads_it() {
        let target = Some("/data/baseos".to_owned());
        let read = |text: &str| first(json!([text])).unwrap();
        let volume = MountSource::Volume("baseos");
        assert_eq!(read("baseos:/data/baseos"), (volume, target.clone(), true));
        assert_eq!(read("baseos:/data/baseos:ro"), (volume, target.clone(), false));
        assert_eq!(read("baseos:/data/baseos:rw"), (volume, target.clone(), true));
        assert_eq!(read("baseos"), (volume, None, false));
        assert_eq!(
            read("/data/baseos"),
            (MountSource::Nothing, target.clone(), false)
        );
        assert_eq!(
            read("/mnt:/data/baseos"),
            (MountSource::HostPath("/mnt"), target, false)
        );
    }

    #[test]
    fn the_long_form_is_read_as_the_supervisor_reads_it() {
        let target = Some("/data".to_owned());
        let read = |entry: Value| first(json!([entry])).unwrap();
        let volume = MountSource::Volume("baseos");
        let long = |kind: &str, source: &str| json!({ "type": kind, "source": source, "target": "/data" });
        assert_eq!(read(long("volume", "baseos")), (volume, target.clone(), true));
        assert_eq!(read(long("tmpfs", "baseos")), (volume, target.clone(), false));
        assert_eq!(
            read(long("bind", "/mnt")),
            (MountSource::HostPath("/mnt"), target.clone(), false)
        );
        let untyped = json!({ "source": "baseos", "target": "/data" });
        assert_eq!(read(untyped), (volume, target.clone(), false));
        let tmpfs = json!({ "type": "tmpfs", "target": "/data" });
        assert_eq!(read(tmpfs), (MountSource::Nothing, target, false));
        for neither in [
            json!([1]),
            json!([null]),
            json!([{ "source": 1 }]),
            json!("x:/y"),
            json!({}),
            json!([]),
        ] {
            assert_eq!(first(neither), None);
        }
    }

    #[test]
    fn a_mount_is_read_only_unless_it_says_that_it_is_not() {
        let read_only = |value: Value| {
            let entry = json!({ "type": "volume", "source": "a", "target": "/data", "read_only": value });
            mounts(&Map::from_iter([("volumes".to_owned(), json!([entry]))]))
                .next()
                .unwrap()
                .read_only
        };
        assert!(read_only(json!(true)) && read_only(json!("true")) && read_only(json!(1)));
        assert!(!read_only(json!(false)) && !read_only(json!(null)));
    }

    #[test]
    fn two_mounts_at_one_place_are_found_however_they_are_written() {
        let shared = |composition: Value| {
            let Value::Object(composition) = composition else {
                panic!()
            };
            shared_targets(&composition).join(" ")
        };
        let long = json!({ "type": "volume", "source": "b", "target": "/data//x/" });
        assert_eq!(
            shared(json!({ "volumes": ["a:/data/x", long, "/data/x"] })),
            "/data//x/"
        );
        assert_eq!(
            shared(json!({ "volumes": ["/mnt:/data", "a:/data/."] })),
            "/data/."
        );
        assert_eq!(
            shared(json!({ "volumes": ["a:/data"], "tmpfs": ["/x", "/data:size=1m"] })),
            "/data"
        );
        assert_eq!(
            shared(json!({ "volumes": ["a:/data", "b:/data/x", "c"], "tmpfs": "/tmp" })),
            ""
        );
    }

    #[test]
    fn the_key_may_be_spelled_in_every_way_the_supervisor_takes() {
        let composition = Map::from_iter([("Volumes".to_owned(), json!(["data:/data"]))]);
        assert_eq!(mounts(&composition).count(), 1);
    }

    #[test]
    fn a_mount_covers_its_own_place_and_what_is_below() {
        for (target, path) in [
            ("/data", "/data"),
            ("/data/", "/data/baseos"),
            ("/a//b/./", "/a/b/c"),
        ] {
            assert!(covers(target, path), "{target} {path}");
        }
        for (target, path) in [
            ("/data/baseos", "/data"),
            ("/data", "/database"),
            ("/", "/data"),
            ("", "/data"),
            ("data", "data"),
            ("/data", "/data/../etc"),
            ("/data/..", "/data"),
        ] {
            assert!(!covers(target, path), "{target} {path}");
        }
    }
}
