//! Places where a test may kill the agent, to see what is left on the disk.
//!
//! Only builds with the feature `failpoints` can be killed; in all others [`hit`] is nothing at all.

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit, hit_with};
#[cfg(not(feature = "failpoints"))]
pub use disarmed::{arm, hit, hit_with};

#[cfg(not(feature = "failpoints"))]
mod disarmed {
    /// Does nothing in this build.
    pub fn arm(_at: Option<String>) {}

    /// Does nothing in this build.
    #[inline(always)]
    pub fn hit(_name: &'static str) {}

    /// Does nothing in this build.
    #[inline(always)]
    pub fn hit_with(_name: &'static str, _detail: &'static str) {}
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        /// How many hits are left; the last one kills.
        left: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Decides where this process dies: `name`, or `name:N` for the N-th time it comes there. `BASEOS_FAILPOINT`
    /// has this form. Only the first call counts.
    pub fn arm(at: Option<String>) {
        let Some(at) = at else { return };
        let (name, count) = match at.rsplit_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
            None => (at, 1),
        };
        // A second call is a programming error of no consequence.
        let _ = ARMED.set(Armed {
            name,
            left: AtomicU64::new(count),
        });
    }

    /// Dies here, as by a power cut, when this is the place and the time.
    pub fn hit(name: &'static str) {
        die_if(|armed| armed == name);
    }

    /// As [`hit`], for a place that is passed for many reasons: `name.detail`.
    pub fn hit_with(name: &'static str, detail: &'static str) {
        die_if(|armed| armed.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) == Some(detail));
    }

    fn die_if(here: impl Fn(&str) -> bool) {
        if let Some(armed) = ARMED.get()
            && here(&armed.name)
            && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // SIGKILL: no destructor, no flush, no exit handler runs, like in a power cut.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}
