//! What a policy may say, and how long its order to go ahead holds.

use super::error::{Error, Result};
use super::validate::text;
use crate::clock;
use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::{FORCE_TTL_MAX_SECONDS, FORCE_TTL_SECONDS};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::{Heal, OnFailure, Policy};

const DAY_SECONDS: u32 = 86_400;
/// Several heartbeats come in that time.
const FORCE_TTL_MIN_SECONDS: u32 = 60;

pub(super) fn check(policy: &Policy) -> Result<()> {
    if policy.windows.len() > 32 {
        return Err(Error::field(
            "/policy/windows",
            FieldCode::TooMany,
            "at most 32 windows",
        ));
    }
    for (index, window) in policy.windows.iter().enumerate() {
        window.check().map_err(|error| {
            Error::field(
                format!("/policy/windows/{index}"),
                FieldCode::NotAWindow,
                error.to_string(),
            )
        })?;
    }
    for (member, value, least, most) in [
        ("maxDeferSeconds", policy.max_defer_seconds, 0, 90 * DAY_SECONDS),
        ("maxAttempts", policy.max_attempts, 1, 100),
        ("healthSeconds", policy.health_seconds, 0, DAY_SECONDS),
        (
            "applyTimeoutSeconds",
            policy.apply_timeout_seconds,
            1,
            7 * DAY_SECONDS,
        ),
    ] {
        if !(least..=most).contains(&value) {
            let message = format!("{member} is {value}: use {least} to {most}");
            return Err(Error::field(
                format!("/policy/{member}"),
                FieldCode::OutOfRange,
                message,
            ));
        }
    }
    if policy.on_failure == OnFailure::Unknown {
        return Err(Error::field(
            "/policy/onFailure",
            FieldCode::UnknownValue,
            "onFailure is rollback or report",
        ));
    }
    if policy.heal == Heal::Unknown {
        return Err(Error::field(
            "/policy/heal",
            FieldCode::UnknownValue,
            "heal is restart, repost or report",
        ));
    }
    if let Some(force) = &policy.force {
        text("/policy/force/by", &force.by, 1, 255)?;
        text("/policy/force/reason", &force.reason, 1, 500)?;
    }
    Ok(())
}

/// Says when the order to go ahead in a policy ends.
pub(super) fn limit_force(policy: Option<&mut Policy>, ttl: Option<u32>, now: Timestamp) -> Result<()> {
    let force = policy.and_then(|policy| policy.force.as_mut());
    if let Some(ttl) = ttl
        && !(FORCE_TTL_MIN_SECONDS..=FORCE_TTL_MAX_SECONDS).contains(&ttl)
    {
        let message =
            format!("forceTtlSeconds is {ttl}: use {FORCE_TTL_MIN_SECONDS} to {FORCE_TTL_MAX_SECONDS}");
        return Err(Error::field("/forceTtlSeconds", FieldCode::OutOfRange, message));
    }
    match (force, ttl) {
        (Some(force), ttl) => {
            let seconds = i64::from(ttl.unwrap_or(FORCE_TTL_SECONDS));
            force.expires_at = Some(clock::after(now, seconds));
            Ok(())
        }
        (None, Some(_)) => Err(Error::field(
            "/policy/force",
            FieldCode::Missing,
            "`/policy/force` is missing: forceTtlSeconds says how long it holds",
        )),
        (None, None) => Ok(()),
    }
}
