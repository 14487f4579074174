//! The only sleep of the event loop.

use crate::lifecycle::time::Millis;
use crate::runtime::clock::PausedClock;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Wakes the loop when a timer of the machine is due.
pub trait Alarm: Send {
    /// Waits for this time of the boot-time clock; `None`: for ever. It may return early, never late. A wait that was
    /// given up has no effect.
    fn until(&mut self, at: Option<Millis>) -> impl Future<Output = ()> + Send;
}

/// A timer of the kernel on the boot-time clock, which goes on while the device is suspended. Tokio's does not; and its
/// wheel of timers wakes a process two or three times for each sleep, for which a heartbeat is too cheap.
#[derive(Debug)]
pub struct KernelAlarm {
    timer: AsyncFd<OwnedFd>,
    set: Option<Millis>,
}

impl KernelAlarm {
    /// Must be called in Tokio's runtime.
    ///
    /// # Errors
    /// When there are no descriptors left.
    #[expect(
        deprecated,
        reason = "the call is unsound for types that may close their descriptor, which an `OwnedFd` does not; its successor is unsafe"
    )]
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self {
            timer: AsyncFd::new(timer)?,
            set: None,
        })
    }

    fn set(&mut self, at: Option<Millis>) -> io::Result<()> {
        if self.set != at {
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec(at))?;
            self.set = at;
        }
        Ok(())
    }

    async fn expire(&mut self, at: Option<Millis>) -> io::Result<()> {
        self.set(at)?;
        // The loop compares the time with the clock, so the count of expirations is not read.
        self.timer.readable().await?.clear_ready();
        Ok(())
    }
}

impl Alarm for KernelAlarm {
    async fn until(&mut self, at: Option<Millis>) {
        // Neither fails for a timer and a time that are valid. Should one do, the loop looks at the clock again soon.
        if let Err(error) = self.expire(at).await {
            tracing::error!(%error, "bug: the timer cannot be set");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A time of zero would disarm it, so the least is a nanosecond.
fn spec(at: Option<Millis>) -> Itimerspec {
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = at.map_or(none, |at| Timespec {
        tv_sec: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(at.0 % 1000 * 1_000_000).unwrap_or(0).max(1),
    });
    Itimerspec {
        it_interval: none,
        it_value: value,
    }
}

/// The alarm of tests that pause and advance Tokio's clock.
#[derive(Debug)]
pub struct PausedAlarm {
    start: tokio::time::Instant,
}

impl PausedAlarm {
    /// Goes by this clock.
    pub fn of(clock: &PausedClock) -> Self {
        Self { start: clock.start() }
    }
}

impl Alarm for PausedAlarm {
    async fn until(&mut self, at: Option<Millis>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.start + Duration::from_millis(at.0)).await,
            None => std::future::pending().await,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause after an error that should not be"
)]
fn sleep(duration: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::{Clock as _, SystemClock};

    fn now() -> Millis {
        SystemClock::default().stamp().boot
    }

    #[tokio::test]
    async fn comes_at_its_time_and_not_before() {
        let mut alarm = KernelAlarm::new().unwrap();
        for millis in [0, 1, 30] {
            let at = Millis(now().0 + millis);
            alarm.until(Some(at)).await;
            assert!(now() >= at);
        }
    }

    #[tokio::test]
    async fn a_time_that_has_passed_comes_at_once() {
        let mut alarm = KernelAlarm::new().unwrap();
        for _ in 0..3 {
            alarm.until(Some(Millis(0))).await;
            alarm.until(Some(Millis(1))).await;
        }
    }

    #[tokio::test]
    async fn a_later_time_takes_the_place_of_one_that_was_given_up() {
        let mut alarm = KernelAlarm::new().unwrap();
        let far = Some(Millis(now().0 + 3_600_000));
        for given_up in [far, None] {
            tokio::select! {
                biased;
                () = alarm.until(given_up) => panic!("it came too early"),
                () = tokio::task::yield_now() => {}
            }
            let at = Millis(now().0 + 10);
            // The readiness of an earlier expiration may let it return early, once.
            while now() < at {
                alarm.until(Some(at)).await;
            }
        }
    }
}
