//! A release that was superseded after it was handed over: the Supervisor goes on with it until another one is handed
//! over, so it is watched until then like one that is verified.

use crate::lifecycle::event::Event;
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::record::Update;
use crate::lifecycle::update::verification::{Outlook, Verification, Watch};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Superseded {
    pub(crate) update: Box<Update>,
    verification: Verification,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It is to be watched on.
    Open,
    /// It stayed healthy: it is the release to go back to from now on.
    Proven,
    Bad,
}

impl Superseded {
    pub(crate) fn new(update: &Update) -> Self {
        Self {
            update: Box::new(update.clone()),
            verification: Verification::default(),
        }
    }

    /// Takes in an exit of one of its services, or what a look shows.
    pub(crate) fn see(&mut self, event: &Event, judgement: Option<&Judgement>, watch: Watch<'_>) -> Course {
        let (now, health) = (watch.now, watch.health);
        let outlook = match event {
            Event::ServiceExited { service } => self.verification.exited(service, watch),
            _ => self.verification.see(judgement, watch),
        };
        let healthy_since = self.verification.healthy_since();
        match outlook {
            Outlook::Bad => Course::Bad,
            Outlook::Open if healthy_since.is_some_and(|since| now.since(since) >= health) => Course::Proven,
            Outlook::Open => Course::Open,
        }
    }

    pub(crate) fn into_evidence(self) -> Vec<String> {
        self.verification.evidence
    }
}
