//! The size limit of heartbeats: parts of a larger one are left out.

use super::http::to_json;
use crate::lifecycle::facts::CallFailure;
use baseos_interfaces::heartbeat::Heartbeat;
use baseos_interfaces::limits::HEARTBEAT_MAX_BYTES;
use tracing::warn;

/// The lengths that command messages are cut to in turn, bytes.
const MESSAGE_STEPS: [usize; 4] = [4096, 1024, 256, 0];

/// Serialises a heartbeat to at most `HEARTBEAT_MAX_BYTES`.
///
/// Left out, as far as necessary, are in this order: events (the older half, repeatedly), command messages (from their
/// beginning), the status. Cloudly notices a missing status by its hash and requests it again. If
/// the heartbeat were rejected for its size, the device would look offline.
///
/// # Errors
/// `Garbage`; never, because the types can always be serialised.
pub(super) fn encode(mut heartbeat: Heartbeat) -> Result<Vec<u8>, CallFailure> {
    let mut body = to_json(&heartbeat)?;
    if body.len() <= HEARTBEAT_MAX_BYTES {
        return Ok(body);
    }
    let (full_size, all_events) = (body.len(), heartbeat.events.len());
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
        before = full_size,
        after = body.len(),
        limit = HEARTBEAT_MAX_BYTES,
        events_dropped = all_events - heartbeat.events.len(),
        status_kept = heartbeat.status.is_some(),
        "a heartbeat was too large and was cut"
    );
    Ok(body)
}

/// Keeps at most the last `keep` bytes, because the end of a log is its most relevant part.
fn keep_end(message: &mut String, keep: usize) {
    if message.len() <= keep {
        return;
    }
    let start = (message.len() - keep..=message.len())
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(message.len());
    message.replace_range(..start, "…");
}
