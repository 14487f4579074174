//! The operating system's random numbers, for tokens and ids.

/// Fills `bytes` from the kernel's generator; waits until it is seeded.
pub fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // `getrandom` fails only when a signal interrupts it while it waits for its seed; then it is asked again.
        if let Ok(count) =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += count;
        }
    }
}
