//! Notices for the event stream of the local API: progress and reasons to wait, each once.

use crate::lifecycle::context::Context;
use crate::lifecycle::update::record::Update;
use baseos_interfaces::local::Notice;
use baseos_interfaces::status::Blocker;

/// What was published last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Notices {
    progress: Option<(String, u8)>,
    blocked_by: Vec<Blocker>,
}

impl Notices {
    /// Publishes progress and reasons to wait when they differ from what was published last.
    pub(crate) fn publish(&mut self, update: Option<&Update>, cx: &mut Context) {
        let now = Self::of(update);
        if now.progress != self.progress
            && let Some((target, percent)) = now.progress.clone()
        {
            cx.publish(Notice::Progress { target, percent });
        }
        if now.blocked_by != self.blocked_by {
            cx.publish(Notice::Blocked {
                blocked_by: now.blocked_by.clone(),
            });
        }
        *self = now;
    }

    fn of(update: Option<&Update>) -> Self {
        let Some(update) = update else {
            return Self::default();
        };
        Self {
            progress: update
                .progress
                .map(|percent| (update.commit().to_owned(), percent)),
            blocked_by: update.blocked().iter().map(Blocker::from).collect(),
        }
    }
}
