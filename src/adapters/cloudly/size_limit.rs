//! The size limit of a heartbeat: one that is too large is cut, so that it always gets through.

use super::http::to_json;
use crate::lifecycle::facts::CallFailure;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use tracing::warn;

/// What a command's message is cut to, step by step, bytes.
const MESSAGE_STEPS: [usize; 4] = [4096, 1024, 256, 0];

/// The body of a heartbeat, at most `HEARTBEAT_MAX_BYTES`.
///
/// What is too large is given up in this order: events (the older half, again and again), command messages (their
/// beginnings), the status. Cloudly notices a missing status by its hash and asks again; a device that is silent
/// because it has too much to say would be taken for dead.
///
/// # Errors
/// `Garbage` when it cannot be serialised, which its types rule out.
pub(super) fn encode(mut heartbeat: Heartbeat) -> Result<Vec<u8>, CallFailure> {
    let mut body = to_json(&heartbeat)?;
    if body.len() <= HEARTBEAT_MAX_BYTES {
        return Ok(body);
    }
    let (before, events) = (body.len(), heartbeat.events.len());
    while body.len() > HEARTBEAT_MAX_BYTES && !heartbeat.events.is_empty() {
        heartbeat.events.drain(..heartbeat.events.len().div_ceil(2));
        body = to_json(&heartbeat)?;
    }
    for keep in MESSAGE_STEPS {
        if body.len() <= HEARTBEAT_MAX_BYTES {
            break;
        }
        for message in heartbeat
            .command_results
            .iter_mut()
            .filter_map(|result| result.message.as_mut())
        {
            keep_end(message, keep);
        }
        body = to_json(&heartbeat)?;
    }
    if body.len() > HEARTBEAT_MAX_BYTES {
        heartbeat.status = None;
        body = to_json(&heartbeat)?;
    }
    warn!(
        before,
        after = body.len(),
        limit = HEARTBEAT_MAX_BYTES,
        events_dropped = events - heartbeat.events.len(),
        status_kept = heartbeat.status.is_some(),
        "a heartbeat was too large and was cut"
    );
    Ok(body)
}

/// Keeps the last `keep` bytes or fewer: in a log, the end is what matters.
fn keep_end(message: &mut String, keep: usize) {
    if message.len() <= keep {
        return;
    }
    let start = (message.len() - keep..=message.len())
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(message.len());
    message.replace_range(..start, "…");
}
