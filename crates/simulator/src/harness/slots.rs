//! How many programs a test process runs at the same time.
//!
//! Tests run in parallel, and each starts processes. They wait most of the time, but too many of them starve each other,
//! and what waits with a limit fails. So each agent and each testbed holds slots while it runs. A case asks for them once,
//! before it starts anything: two cases that each wait for more while they hold some would never end.

use std::sync::LazyLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Half as many testbeds run at a time.
const PER_CORE: usize = 14;
const FOR_AGENT: u32 = 1;
/// An agent, a Cloudly and a device.
const FOR_TESTBED: u32 = 2;

static SLOTS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new(PER_CORE * cores)
});

/// Room for what a test runs; free again when this is dropped.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held until it is dropped")] Option<SemaphorePermit<'static>>);

/// Waits for room for an agent without a testbed.
pub async fn slot_for_agent() -> Slot {
    acquire(FOR_AGENT).await
}

/// Waits for room for a testbed.
pub(crate) async fn slot_for_testbed() -> Slot {
    acquire(FOR_TESTBED).await
}

async fn acquire(count: u32) -> Slot {
    // The semaphore is never closed.
    Slot(SLOTS.acquire_many(count).await.ok())
}
