//! Named points where a test kills the agent, to check what is on the disk afterwards.
//!
//! They exist only in builds with the feature `failpoints`; otherwise the functions are empty.

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit, hit_with};
#[cfg(not(feature = "failpoints"))]
pub use disarmed::{arm, hit, hit_with};

#[cfg(not(feature = "failpoints"))]
mod disarmed {
    pub fn arm(_at: Option<String>) {}

    #[inline(always)]
    pub fn hit(_name: &'static str) {}

    #[inline(always)]
    pub fn hit_with(_name: &'static str, _detail: &'static str) {}
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        /// The remaining hits; the last one kills.
        remaining: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms a failpoint: `name`, or `name:N` for its N-th hit. `BASEOS_FAILPOINT` has this form. Only the first call
    /// has an effect.
    pub fn arm(at: Option<String>) {
        let Some(at) = at else { return };
        let (name, count) = match at.rsplit_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
            None => (at, 1),
        };
        // A second call is ignored, as documented.
        let _ = ARMED.set(Armed {
            name,
            remaining: AtomicU64::new(count),
        });
    }

    /// Kills the process as a power cut would, if this failpoint is armed and its count is reached.
    pub fn hit(name: &'static str) {
        kill_if(|armed| armed == name);
    }

    /// As [`hit`], for a failpoint named `name.detail`.
    pub fn hit_with(name: &'static str, detail: &'static str) {
        kill_if(|armed| armed.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) == Some(detail));
    }

    fn kill_if(is_armed: impl Fn(&str) -> bool) {
        if let Some(armed) = ARMED.get()
            && is_armed(&armed.name)
            && armed.remaining.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // SIGKILL runs no destructor, flush or exit handler, as in a power cut.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}
