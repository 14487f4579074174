//! What a policy may say.

use super::error::{Error, Result};
use super::validate::text;
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::{Heal, OnFailure, Policy};

const DAY_SECONDS: u32 = 86_400;

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
