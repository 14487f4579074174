//! Random bytes from the operating system, and ids made of them.

use baseos_interfaces::Timestamp;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(NoRandomness)
}

/// Something between a number and its double. Without randomness it is the number.
pub(crate) fn spread(number: u32) -> u32 {
    let mut random = [0u8; 4];
    match fill(&mut random) {
        Ok(()) => number.saturating_add(u32::from_le_bytes(random) % number.saturating_add(1)),
        Err(_) => number,
    }
}

/// `<prefix><time><random>` in Crockford's base 32. Ids sort by age, so that lists page in order of arrival.
pub(crate) fn id(prefix: &str, now: Timestamp) -> Result<String, NoRandomness> {
    let mut random = [0u8; 8];
    fill(&mut random)?;
    let mut text = String::with_capacity(prefix.len() + 16);
    text.push_str(prefix);
    push_digits(&mut text, u64::try_from(now.as_millisecond()).unwrap_or(0), 10);
    push_digits(&mut text, u64::from_le_bytes(random), 6);
    Ok(text)
}

fn push_digits(text: &mut String, value: u64, count: u32) {
    for place in (0..count).rev() {
        text.push(char::from(CROCKFORD[(value >> (5 * place) & 31) as usize]));
    }
}
