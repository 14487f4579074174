//! A release that was superseded after it was handed over: the Supervisor goes on with it until another one is handed
//! over, so it is watched until then like one that is verified.

use crate::lifecycle::event::Event;
use crate::lifecycle::update::judgement::Judgement;
use crate::lifecycle::update::last_look::LastLook;
use crate::lifecycle::update::record::Update;
use crate::lifecycle::update::verification::{Outlook, Verification, Watch};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Superseded {
    pub(crate) update: Box<Update>,
    verification: Verification,
    #[serde(skip)]
    pub(crate) last_look: LastLook,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It is to be watched on.
    Open,
    /// It has been healthy for long enough.
    Healthy,
    Bad,
}

impl Superseded {
    pub(crate) fn new(update: &Update) -> Self {
        Self {
            update: Box::new(update.clone()),
            verification: Verification::default(),
            last_look: LastLook::default(),
        }
    }

    /// Takes in an exit of one of its services, or what a look shows.
    pub(crate) fn see(&mut self, event: &Event, judgement: Option<&Judgement>, watch: Watch<'_>) -> Course {
        let (now, health) = (watch.now, watch.health);
        let outlook = match event {
            Event::ServiceExited { service } => self.verification.exited(service, watch),
            _ => self.verification.see(judgement, watch),
        };
        match outlook {
            Outlook::Bad => Course::Bad,
            Outlook::Open if self.verification.is_over(health, now) => Course::Healthy,
            Outlook::Open => Course::Open,
        }
    }

    pub(crate) fn into_evidence(self) -> Vec<String> {
        self.verification.evidence
    }
}
