//! A heartbeat always gets through: one that is too large loses weight, not its place.

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
pub(super) fn heartbeat(mut beat: Heartbeat) -> Result<Vec<u8>, CallFailure> {
    let mut body = to_json(&beat)?;
    if body.len() <= HEARTBEAT_MAX_BYTES {
        return Ok(body);
    }
    let (before, events) = (body.len(), beat.events.len());
    while body.len() > HEARTBEAT_MAX_BYTES && !beat.events.is_empty() {
        beat.events.drain(..beat.events.len().div_ceil(2));
        body = to_json(&beat)?;
    }
    for keep in MESSAGE_STEPS {
        if body.len() <= HEARTBEAT_MAX_BYTES {
            break;
        }
        for message in beat
            .command_results
            .iter_mut()
            .filter_map(|result| result.message.as_mut())
        {
            keep_end(message, keep);
        }
        body = to_json(&beat)?;
    }
    if body.len() > HEARTBEAT_MAX_BYTES {
        beat.status = None;
        body = to_json(&beat)?;
    }
    warn!(
        before,
        after = body.len(),
        limit = HEARTBEAT_MAX_BYTES,
        events_dropped = events - beat.events.len(),
        status_kept = beat.status.is_some(),
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
