//! Checks of what comes in, beyond its shape. An error names the member and what would be right.

use crate::error::{Answer, ApiError};
use baseos_interfaces::admin::{CreateRelease, SetDesired};
use baseos_interfaces::desired::{OnFailure, Policy};
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::register::RegisterRequest;
use serde_json::Value;
use std::collections::BTreeMap;

/// Numbers on the wire stay where JavaScript can count too.
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// How deep free-form JSON may be nested.
const DEPTH_MAX: usize = 32;

/// An older protocol is refused; a newer one is this one with additions.
pub(crate) fn protocol(version: u32) -> Answer<()> {
    if version >= PROTOCOL_VERSION {
        return Ok(());
    }
    let title = format!("protocol version {version} is too old; this Cloudly speaks {PROTOCOL_VERSION}");
    Err(Problem::new(426, code::PROTOCOL_TOO_OLD, title).into())
}

/// A registration.
pub(crate) fn registration(request: &RegisterRequest) -> Answer<()> {
    text("/registrationId", &request.registration_id, 1, 128)?;
    text("/node/name", &request.node.name, 1, 255)?;
    text("/node/agentVersion", &request.node.agent_version, 1, 64)?;
    let facts = &request.node;
    for (pointer, value) in [
        ("/node/hardwareId", &facts.hardware_id),
        ("/node/balenaUuid", &facts.balena_uuid),
        ("/node/deviceType", &facts.device_type),
        ("/node/architecture", &facts.architecture),
        ("/node/osName", &facts.os_name),
        ("/node/osVersion", &facts.os_version),
        ("/node/osVariant", &facts.os_variant),
        ("/node/supervisorVersion", &facts.supervisor_version),
    ] {
        if let Some(value) = value {
            text(pointer, value, 1, 255)?;
        }
    }
    labels(&request.labels)?;
    if request.capabilities.len() > 64 {
        return Err(ApiError::member(
            "/capabilities",
            "tooMany",
            "at most 64 capabilities",
        ));
    }
    request
        .capabilities
        .iter()
        .try_for_each(|capability| text("/capabilities", capability, 1, 64))
}

/// Labels of a node or a join token.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Answer<()> {
    if labels.len() > 64 {
        return Err(ApiError::member("/labels", "tooMany", "at most 64 labels"));
    }
    labels.iter().try_for_each(|(key, value)| {
        text("/labels", key, 1, 64)?;
        text("/labels", value, 0, 255)
    })
}

/// A heartbeat.
pub(crate) fn heartbeat(beat: &Heartbeat) -> Answer<()> {
    text("/runId", &beat.run_id, 1, 64)?;
    text("/statusHash", &beat.status_hash, 1, 128)?;
    for (pointer, number) in [
        ("/sequence", beat.sequence),
        ("/observedRevision", beat.observed_revision),
    ] {
        if number > MAX_NUMBER {
            return Err(ApiError::member(pointer, "tooLarge", "numbers stay below 2^53"));
        }
    }
    for (index, event) in beat.events.iter().enumerate() {
        text(&format!("/events/{index}/id"), &event.id, 1, 128)?;
        text(&format!("/events/{index}/type"), &event.kind, 1, 64)?;
        shallow(&format!("/events/{index}/data"), [&event.data])?;
    }
    Ok(())
}

/// A release. What the Supervisor would choke on is refused here, where somebody can still read the answer.
pub(crate) fn release(release: &CreateRelease) -> Answer<()> {
    let commit = &release.commit;
    let hex = commit
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !hex || !(7..=64).contains(&commit.len()) {
        let title = "a commit is 7 to 64 hex digits in lower case, e.g. 1f0a9be";
        return Err(ApiError::member("/commit", "notACommit", title));
    }
    if commit.bytes().all(|byte| byte.is_ascii_digit()) {
        let title = "a commit needs at least one of the letters a to f: one of decimal digits only breaks the Supervisor's container names";
        return Err(ApiError::member("/commit", "noLetter", title));
    }
    if let Some(version) = &release.version {
        text("/version", version, 1, 64)?;
    }
    if release.services.is_empty() {
        return Err(ApiError::member(
            "/services",
            "empty",
            "a release needs at least one service",
        ));
    }
    for (name, service) in &release.services {
        name_of("/services", name)?;
        shallow(
            &format!("/services/{}/composition", escaped(name)),
            service.composition.values(),
        )?;
        let pointer = format!("/services/{}/image", escaped(name));
        text(&pointer, &service.image, 1, 255)?;
        if !service.image.chars().all(|c| c.is_ascii_graphic()) {
            let title = format!(
                "the image of `{name}` holds a character that no image reference has (a space, or a `…` that \
                 stands for something?): it is one reference, e.g. registry.example/app:1.13.0 or with @sha256: and \
                 64 hex digits"
            );
            return Err(ApiError::member(pointer, "notAnImage", title));
        }
    }
    shallow(
        "/volumes",
        release.volumes.values().flat_map(|volume| volume.values()),
    )?;
    shallow(
        "/networks",
        release.networks.values().flat_map(|network| network.values()),
    )?;
    release
        .volumes
        .keys()
        .try_for_each(|name| name_of("/volumes", name))?;
    release
        .networks
        .keys()
        .try_for_each(|name| name_of("/networks", name))
}

/// What is desired, beside the commit.
pub(crate) fn desired(desired: &SetDesired) -> Answer<()> {
    policy(&desired.policy)
}

fn policy(policy: &Policy) -> Answer<()> {
    if policy.windows.len() > 32 {
        return Err(ApiError::member(
            "/policy/windows",
            "tooMany",
            "at most 32 windows",
        ));
    }
    for (index, window) in policy.windows.iter().enumerate() {
        window.check().map_err(|error| {
            ApiError::member(
                format!("/policy/windows/{index}"),
                "notAWindow",
                error.to_string(),
            )
        })?;
    }
    for (member, value, least, most) in [
        ("maxDeferSeconds", policy.max_defer_seconds, 0, 90 * 86_400),
        ("maxAttempts", policy.max_attempts, 1, 100),
        ("healthSeconds", policy.health_seconds, 0, 86_400),
        ("applyTimeoutSeconds", policy.apply_timeout_seconds, 1, 7 * 86_400),
    ] {
        if !(least..=most).contains(&value) {
            let title = format!("{member} is {value}: use {least} to {most}");
            return Err(ApiError::member(format!("/policy/{member}"), "outOfRange", title));
        }
    }
    if policy.on_failure == OnFailure::Unknown {
        return Err(ApiError::member(
            "/policy/onFailure",
            "unknownValue",
            "onFailure is rollback or report",
        ));
    }
    if let Some(force) = &policy.force {
        text("/policy/force/by", &force.by, 1, 255)?;
        text("/policy/force/reason", &force.reason, 1, 500)?;
    }
    Ok(())
}

/// A short text without control characters; they would forge lines in tables and logs.
pub(crate) fn text(pointer: &str, value: &str, least: usize, most: usize) -> Answer<()> {
    let length = value.chars().count();
    if length < least {
        return Err(ApiError::member(
            pointer,
            "empty",
            format!("{pointer} must not be empty"),
        ));
    }
    if length > most {
        return Err(ApiError::member(
            pointer,
            "tooLong",
            format!("{pointer} has more than {most} characters"),
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(ApiError::member(
            pointer,
            "controlCharacter",
            format!("{pointer} has a control character"),
        ));
    }
    Ok(())
}

fn name_of(pointer: &str, name: &str) -> Answer<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.len() <= 63
        && name.bytes().all(good)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
    {
        return Ok(());
    }
    let title = "a name has up to 63 letters, digits, `_`, `.` and `-`, and begins with a letter or digit";
    Err(ApiError::member(
        format!("{pointer}/{}", escaped(name)),
        "notAName",
        title,
    ))
}

/// Free-form JSON that is not nested beyond reason: it comes back inside other documents, and every parser on the way
/// has a limit.
fn shallow<'a>(pointer: &str, values: impl IntoIterator<Item = &'a Value>) -> Answer<()> {
    if values.into_iter().all(|value| is_shallow(value, DEPTH_MAX)) {
        return Ok(());
    }
    let title = format!("{pointer} is nested more than {DEPTH_MAX} deep");
    Err(ApiError::member(pointer, "tooDeep", title))
}

fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_shallow(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| is_shallow(member, depth - 1)),
        _ => true,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
