//! The compose keys that the Supervisor honours, and the values it can read.
//!
//! What it does not know it leaves out with a line in its own log, and a value of another type than it expects makes it
//! fail each time it reads its target, until it is given another one (source). Neither may come out of a release.

use serde_json::{Map, Value};

/// What the value of a compose key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Flag,
    Number,
    /// A number of bytes, with a unit of one letter or none.
    Memory,
    /// A time with units, like `10s`.
    Time,
    Texts,
    TextOrTexts,
    /// A signal's name or number.
    Signal,
    Ports,
    Restart,
    NetworkMode,
    Networks,
    Ulimits,
    Settings,
    Healthcheck,
    /// Checked elsewhere.
    Volumes,
}

/// Every key that is honoured, as the Supervisor spells it (source).
const KEYS: [(&str, Shape); 48] = [
    ("capAdd", Shape::Texts),
    ("capDrop", Shape::Texts),
    ("cgroupParent", Shape::Text),
    ("command", Shape::TextOrTexts),
    ("cpuQuota", Shape::Number),
    ("cpuShares", Shape::Number),
    ("cpus", Shape::Number),
    ("cpuset", Shape::Text),
    ("dependsOn", Shape::Texts),
    ("devices", Shape::Texts),
    ("dns", Shape::TextOrTexts),
    ("dnsOpt", Shape::Texts),
    ("dnsSearch", Shape::TextOrTexts),
    ("domainname", Shape::Text),
    ("entrypoint", Shape::TextOrTexts),
    ("extraHosts", Shape::Texts),
    ("groupAdd", Shape::Texts),
    ("healthcheck", Shape::Healthcheck),
    ("hostname", Shape::Text),
    ("init", Shape::Flag),
    ("ipc", Shape::Text),
    ("macAddress", Shape::Text),
    ("memLimit", Shape::Memory),
    ("memReservation", Shape::Memory),
    ("networkMode", Shape::NetworkMode),
    ("networks", Shape::Networks),
    ("oomKillDisable", Shape::Flag),
    ("oomScoreAdj", Shape::Number),
    ("pid", Shape::Text),
    ("pidsLimit", Shape::Number),
    ("ports", Shape::Ports),
    ("privileged", Shape::Flag),
    ("readOnly", Shape::Flag),
    ("restart", Shape::Restart),
    ("runtime", Shape::Text),
    ("securityOpt", Shape::Texts),
    ("shmSize", Shape::Memory),
    ("stopGracePeriod", Shape::Time),
    ("stopSignal", Shape::Signal),
    ("storageOpt", Shape::Settings),
    ("sysctls", Shape::Settings),
    ("tmpfs", Shape::TextOrTexts),
    ("tty", Shape::Flag),
    ("ulimits", Shape::Ulimits),
    ("user", Shape::Text),
    ("usernsMode", Shape::Text),
    ("volumes", Shape::Volumes),
    ("workingDir", Shape::Text),
];

/// The restart policies; the Supervisor reads anything else as `always` (source).
const RESTART_POLICIES: [&str; 4] = ["always", "unless-stopped", "on-failure", "no"];

/// Whether a key is one that every tool ignores.
pub(super) fn is_extension(key: &str) -> bool {
    key.starts_with("x-")
}

/// The key as the Supervisor reads it: words in camelCase, where a word ends at anything but a letter or digit, before
/// a capital after a small letter, before the last of several capitals, and between letters and digits (source).
pub fn camel_case(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut out = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            continue;
        }
        if !out.is_empty() && begins_word(bytes, at) {
            out.push(char::from(byte.to_ascii_uppercase()));
        } else {
            out.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    out
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    let get = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let (before, here, after) = (get(at.wrapping_sub(1)), get(at), get(at + 1));
    !before.is_ascii_alphanumeric()
        || before.is_ascii_digit() != here.is_ascii_digit()
        || (before.is_ascii_lowercase() && here.is_ascii_uppercase())
        || (before.is_ascii_uppercase() && here.is_ascii_uppercase() && after.is_ascii_lowercase())
}

/// Whether the Supervisor honours a key.
pub(super) fn is_honoured(key: &str) -> bool {
    shape(key).is_some()
}

/// What the value of a key should be; `None`: it is right, or the key is not honoured at all.
pub(super) fn expected(key: &str, value: &Value) -> Option<&'static str> {
    let shape = shape(key)?;
    (!value.is_null() && !shape.holds(value)).then(|| shape.in_words())
}

fn shape(key: &str) -> Option<Shape> {
    let key = camel_case(key);
    let (_, shape) = KEYS.iter().find(|(known, _)| *known == key)?;
    Some(*shape)
}

impl Shape {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Number => number(value),
            Self::Memory => value.is_u64() || value.as_str().is_some_and(memory),
            Self::Time => value.as_str().is_some_and(time),
            Self::Texts => texts(value),
            Self::TextOrTexts => value.is_string() || texts(value),
            Self::Signal => value.is_string() || value.is_u64(),
            Self::Ports => all(value, |port| port.as_str().is_some_and(ports)),
            Self::Restart => value.as_str().is_some_and(restart),
            Self::NetworkMode => value
                .as_str()
                .is_some_and(|mode| !mode.is_empty() && !mode.trim_start().starts_with("container:")),
            Self::Networks => texts(value) || members(value, network),
            Self::Ulimits => members(value, ulimit),
            Self::Settings => {
                members(value, |value| value.is_string() || value.is_number())
                    || all(value, |item| item.as_str().is_some_and(|item| item.contains('=')))
            }
            Self::Healthcheck => value.as_object().is_some_and(healthcheck),
            Self::Volumes => true,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Flag => "true or false",
            Self::Number => "a number",
            Self::Memory => "a number of bytes, or a whole number with a unit: \"64m\"",
            Self::Time => "a time with its unit: \"10s\"",
            Self::Texts => "a list of texts",
            Self::TextOrTexts => "text, or a list of texts",
            Self::Signal => "the name or number of a signal",
            Self::Ports => "a list of texts like \"8080:80\", with equally long ranges",
            Self::Restart => "one of \"always\", \"unless-stopped\", \"on-failure\" and \"no\", in quotes",
            Self::NetworkMode => "the name of a network, \"host\", \"bridge\", \"none\" or \"service:NAME\"",
            Self::Networks => "a list of names, or an object whose members are objects",
            Self::Ulimits => "an object of numbers, or of {\"soft\": number, \"hard\": number}",
            Self::Settings => "an object of texts, or a list of \"name=value\"",
            Self::Healthcheck => {
                "an object whose test is text or a list of texts, and whose interval and timeout are times like \"10s\""
            }
            Self::Volumes => "a list",
        }
    }
}

fn all(value: &Value, holds: impl FnMut(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(holds))
}

fn members(value: &Value, holds: impl FnMut(&Value) -> bool) -> bool {
    value
        .as_object()
        .is_some_and(|members| members.values().all(holds))
}

fn texts(value: &Value) -> bool {
    all(value, Value::is_string)
}

fn number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok())
}

/// Digits, a unit of `b`, `k`, `m` or `g`, and `b` once more. The Supervisor reads anything else as no limit (source).
fn memory(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.strip_suffix(['b', 'k', 'm', 'g']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers with units. The Supervisor cannot read its target with anything else in it (source).
fn time(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let unit = ["ms", "us", "ns", "s", "m", "h", "d", "w"]
            .into_iter()
            .find(|unit| after.starts_with(unit));
        match unit {
            Some(unit) if number.parse::<f64>().is_ok() => rest = &after[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

fn restart(text: &str) -> bool {
    RESTART_POLICIES.contains(&text.trim().to_ascii_lowercase().as_str())
}

/// `[[host:]outer[-outer]:]inner[-inner][/udp|/tcp]`; ranges of one length.
fn ports(text: &str) -> bool {
    let text = text
        .strip_suffix("/udp")
        .or_else(|| text.strip_suffix("/tcp"))
        .unwrap_or(text);
    let (outer, inner) = match text.rsplit_once(':') {
        Some((before, inner)) => {
            let outer = before.rsplit_once(':').map_or(before, |(_, outer)| outer);
            let host = &before[..before.len() - outer.len()];
            if !host
                .chars()
                .all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':'))
            {
                return false;
            }
            (Some(outer), inner)
        }
        None => (None, text),
    };
    let Some(inner) = range(inner) else { return false };
    let single = inner.0 == inner.1;
    match outer {
        None => true,
        Some(outer) => match (range(outer), outer.contains('-')) {
            (Some((from, to)), true) => to - from == inner.1 - inner.0,
            (outer, false) => single && outer.is_some(),
            (None, true) => false,
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let plain = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(from) || !plain(to) {
        return None;
    }
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

/// A member of `networks`. `null` makes the Supervisor fail (source).
fn network(value: &Value) -> bool {
    let Some(network) = value.as_object() else {
        return false;
    };
    network
        .iter()
        .all(|(key, value)| camel_case(key) != "aliases" || value.is_null() || texts(value))
}

fn ulimit(value: &Value) -> bool {
    let limits = |limits: &Map<String, Value>| {
        ["soft", "hard"]
            .iter()
            .all(|limit| limits.get(*limit).is_some_and(Value::is_number))
    };
    value.is_number() || value.as_object().is_some_and(limits)
}

fn healthcheck(members: &Map<String, Value>) -> bool {
    members.iter().all(|(key, value)| {
        value.is_null()
            || match camel_case(key).as_str() {
                "test" => value.is_string() || texts(value),
                "interval" | "timeout" | "startPeriod" => value.as_str().is_some_and(time),
                "retries" => value.is_number(),
                "disable" => value.is_boolean(),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_read_in_camel_case_as_the_supervisor_reads_it() {
        for (key, read) in [
            ("cap_add", "capAdd"),
            ("capAdd", "capAdd"),
            ("Cap-Add", "capAdd"),
            ("CAP_ADD", "capAdd"),
            ("CAPADD", "capadd"),
            ("XMLHttp", "xmlHttp"),
            ("mem2limit", "mem2Limit"),
            ("_volumes_", "volumes"),
            ("x-note", "xNote"),
            ("", ""),
        ] {
            assert_eq!(camel_case(key), read, "{key}");
        }
        assert!(is_honoured("Volumes") && is_honoured("cap_add"));
        assert!(!is_honoured("CAPADD") && !is_honoured("logging") && !is_honoured("expose"));
    }

    #[test]
    fn values_that_the_supervisor_reads_are_right_and_others_are_not() {
        #[rustfmt::skip]
        let cases = [
            ("privileged", json!([true, null]), json!(["true", 1])),
            ("user", json!(["1000:1000", ""]), json!([1000, ["a"]])),
            ("cpus", json!([1.5, "0.5"]), json!(["many", true])),
            ("mem_limit", json!([1024, "64m", "1GB", "512", "5b"]), json!(["1.5g", "64 m", "", "m", -1])),
            ("stop_grace_period", json!(["10s", "1m30s", "1.5h"]), json!(["soon", "10", 10, ""])),
            ("cap_drop", json!([["ALL"], []]), json!(["ALL", [1], { "a": "b" }])),
            ("command", json!(["sleep 1", ["sleep", "1"]]), json!([5, { "a": 1 }])),
            ("stop_signal", json!(["SIGINT", 2]), json!([[2]])),
            ("restart", json!(["always", "No", " on-failure "]), json!([false, "on-failure:3", "never"])),
            ("network_mode", json!(["host", "service:web", "net"]), json!(["container:x", 5, ""])),
            ("networks", json!([["net"], { "net": {} }, { "net": { "aliases": ["a"] } }]),
                json!([{ "net": null }, { "net": { "aliases": "a" } }, "net"])),
            ("ports", json!([["80", "8080:80", "127.0.0.1:8080:80/udp", "8000-8002:90-92", "[::1]:1:2".replace(['[', ']'], "")]]),
                json!([["a"], [80], ["90-80"], ["8000-8002:90-93"], ["8000:90-92"], [":80"], "80", ["x:1:2"], ["70000"]])),
            ("ulimits", json!([{ "nofile": 9 }, { "nofile": { "soft": 1, "hard": 2 } }]), json!([{ "nofile": null }, [1]])),
            ("sysctls", json!([{ "a": "1", "b": 2 }, ["a=1"]]), json!([["a"], "a=1", { "a": null }])),
            ("healthcheck", json!([{ "test": "true", "interval": "10s", "retries": 3 }, { "test": ["CMD", "x"] }, { "disable": true }]),
                json!(["true", { "test": 1 }, { "interval": "often" }, { "other": 1 }])),
        ];
        for (key, right, wrong) in cases {
            for value in right.as_array().unwrap() {
                assert_eq!(expected(key, value), None, "{key}: {value}");
            }
            for value in wrong.as_array().unwrap() {
                assert!(expected(key, value).is_some(), "{key}: {value}");
            }
        }
    }

    #[test]
    fn every_key_is_spelled_as_it_is_read() {
        for (key, _) in KEYS {
            assert_eq!(camel_case(key), key);
        }
    }
}
