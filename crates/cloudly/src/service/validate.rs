//! Checks that several nouns share. An error names the member and says what would be right.

use super::error::{Error, Result};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::limits::PROTOCOL_VERSION;
use baseos_interfaces::rules::{DEPTH_MAX, is_shallow};
use serde_json::Value;
use std::collections::BTreeMap;

const TTL_DEFAULT_SECONDS: u32 = 3600;
const TTL_MAX_SECONDS: u32 = 30 * 86_400;

/// Refuses an older protocol; a newer one is this one with additions.
pub(super) fn protocol(version: u32) -> Result<()> {
    if version >= PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Error::ProtocolTooOld(version))
}

/// The lifetime of a join token or a command, seconds.
pub(super) fn ttl(seconds: Option<u32>) -> Result<u32> {
    let seconds = seconds.unwrap_or(TTL_DEFAULT_SECONDS);
    if (1..=TTL_MAX_SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    let message = "ttlSeconds is 1 to 2592000 (30 days)";
    Err(Error::field("/ttlSeconds", FieldCode::OutOfRange, message))
}

/// Labels of a node or a join token.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> Result<()> {
    if labels.len() > 64 {
        return Err(Error::field("/labels", FieldCode::TooMany, "at most 64 labels"));
    }
    labels.iter().try_for_each(|(key, value)| {
        text("/labels", key, 1, 64)?;
        text("/labels", value, 0, 255)
    })
}

/// A text of `least` to `most` characters without control characters, which would forge lines in tables and logs.
pub(super) fn text(pointer: &str, value: &str, least: usize, most: usize) -> Result<()> {
    let length = value.chars().count();
    if length < least {
        return Err(Error::field(
            pointer,
            FieldCode::Empty,
            format!("{pointer} must not be empty"),
        ));
    }
    if length > most {
        return Err(Error::field(
            pointer,
            FieldCode::TooLong,
            format!("{pointer} has more than {most} characters"),
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(Error::field(
            pointer,
            FieldCode::ControlCharacter,
            format!("{pointer} has a control character"),
        ));
    }
    Ok(())
}

/// Refuses free-form JSON that is nested too deep.
pub(super) fn depth(pointer: &str, value: &Value) -> Result<()> {
    if is_shallow(value, DEPTH_MAX) {
        return Ok(());
    }
    let message = format!("{pointer} is nested more than {DEPTH_MAX} deep");
    Err(Error::field(pointer, FieldCode::TooDeep, message))
}
