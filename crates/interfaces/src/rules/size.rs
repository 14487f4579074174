//! How large a release may be. An agent keeps several in its state file, which it must be able to write and to read again.

use super::commit::{self, COMMIT_MAX_LEN};
use super::json::{DEPTH_MAX, is_shallow};
use super::parts::{ReleaseParts, ServiceParts};
use super::version::VERSION_MAX_LEN;
use super::violation::{Found, Violations};
use crate::codes::FieldCode;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most services, volumes and networks of a release, each.
pub const ENTRIES_MAX: usize = 64;
/// The largest release, bytes of its texts and definitions as JSON.
pub const RELEASE_MAX_BYTES: usize = 128 * 1024;

/// Whether a release is small and flat enough to be stored: the part of [`check_release`](super::check_release) that an
/// agent asks before it takes a release in.
///
/// # Errors
/// What is too large or nested too deep.
pub fn check_size<'a>(release: impl Into<ReleaseParts<'a>>) -> Result<(), Violations> {
    let parts = release.into();
    let mut found = Found::default();
    if parts.commit.len() > COMMIT_MAX_LEN {
        commit::check(parts.commit, &mut found);
    }
    if parts
        .version
        .is_some_and(|version| version.chars().count() > VERSION_MAX_LEN)
    {
        let message = format!("the version has more than {VERSION_MAX_LEN} characters");
        found.add(&["version"], FieldCode::TooLong, message);
    }
    check(&parts, &mut found);
    let compositions = parts.services.values().map(|service| service.composition);
    let mut definitions = compositions
        .chain(parts.volumes.values())
        .chain(parts.networks.values());
    let is_flat = |members: &Map<String, Value>| members.values().all(|member| is_shallow(member, DEPTH_MAX));
    if !definitions.all(is_flat) {
        let message = format!("the release has a definition that is nested more than {DEPTH_MAX} deep");
        found.add(&["services"], FieldCode::TooDeep, message);
    }
    found.into_result()
}

pub(super) fn check(parts: &ReleaseParts<'_>, found: &mut Found) {
    let counts = [
        ("services", parts.services.len()),
        ("volumes", parts.volumes.len()),
        ("networks", parts.networks.len()),
    ];
    for (section, count) in counts {
        if count > ENTRIES_MAX {
            let message = format!("the release has {count} {section}: {ENTRIES_MAX} at most");
            found.add(&[section], FieldCode::TooMany, message);
        }
    }
    let bytes = bytes(parts);
    if bytes > RELEASE_MAX_BYTES {
        let message = format!(
            "the release has {bytes} bytes, {RELEASE_MAX_BYTES} at most: shorten its compositions and environments"
        );
        found.add(&["services"], FieldCode::TooLong, message);
    }
}

fn bytes(parts: &ReleaseParts<'_>) -> usize {
    let service = |(name, service): (&&str, &ServiceParts<'_>)| {
        name.len()
            + service.image.len()
            + texts(service.environment)
            + texts(service.labels)
            + members(service.composition)
    };
    let definitions = parts.volumes.iter().chain(parts.networks);
    parts.services.iter().map(service).sum::<usize>()
        + definitions
            .map(|(name, definition)| name.len() + members(definition))
            .sum::<usize>()
        + parts.agent_service.len()
}

fn texts(texts: &BTreeMap<String, String>) -> usize {
    // Maps of texts and JSON can always be written as JSON.
    serde_json::to_vec(texts).map_or(usize::MAX / 1_000_000, |json| json.len())
}

fn members(members: &Map<String, Value>) -> usize {
    serde_json::to_vec(members).map_or(usize::MAX / 1_000_000, |json| json.len())
}
