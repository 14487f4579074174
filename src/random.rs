//! Random bytes from the operating system, for tokens and ids.

/// Fills `bytes` from the kernel's generator; blocks until it is seeded.
pub fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // `getrandom` fails only when a signal interrupts the wait for the seed; then it is called again.
        if let Ok(count) =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += count;
        }
    }
}
