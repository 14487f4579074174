//! What the agent remembers of its guard; part of the checkpoint.

use crate::lifecycle::guard::files::{Over, Trial};
use crate::lifecycle::time::{Millis, Reboot};
use crate::lifecycle::update::record::UpdateError;
use crate::lifecycle::update::target::Service;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GuardRecord {
    /// The guard's service in the present target; `None`: the target has none.
    pub(crate) service: Option<Service>,
    /// The trial under way.
    trial: Option<Trial>,
    /// Its budget, from its begin on: the guard ends it no sooner, unless the device is booted too often.
    due: Millis,
    /// Cloudly did not answer when it began: then the new agent may prove itself without it.
    cloudly_away: bool,
    over: Option<Over>,
    /// Trials begun.
    trials: u64,
    /// The last trial whose failure this agent has taken note of.
    noted: u64,
}

/// A release that the guard has taken out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuardRestored {
    pub(crate) commit: String,
    pub(crate) error: UpdateError,
}

/// More trials than an agent begins while an unusable checkpoint is not noticed.
const TRIALS_BEYOND: u64 = 1000;

impl GuardRecord {
    /// The record before this one was lost. What the guard restored last, and what it restores of a trial under way, is
    /// still to be taken note of.
    pub(crate) fn after_loss(restored: Option<u64>) -> Self {
        let restored = restored.unwrap_or(0);
        Self {
            trials: restored.saturating_add(TRIALS_BEYOND),
            noted: restored.saturating_sub(1),
            ..Self::default()
        }
    }

    pub(crate) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    pub(crate) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// The last trial whose end by the guard this agent has taken note of.
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    pub(crate) fn cloudly_was_away(&self) -> bool {
        self.cloudly_away
    }

    /// Whether the agent of this release has proved itself in the last trial.
    pub(crate) fn has_proved(&self, commit: &str) -> bool {
        let proved = self.over.as_ref().filter(|over| over.proved);
        proved.is_some_and(|over| over.commit == commit)
    }

    /// Whether the trial under way has had its time.
    pub(crate) fn trial_has_had_its_time(&self, now: Millis) -> bool {
        self.trial.is_some() && now >= self.due
    }

    /// When the trial under way has had its time.
    pub(crate) fn trial_due(&self) -> Option<Millis> {
        self.trial.as_ref().map(|_| self.due)
    }

    pub(crate) fn carry_over(&mut self, reboot: Reboot) {
        if self.trial.is_some() {
            self.due = reboot.carry(self.due);
        }
    }

    pub(crate) fn begin(&mut self, trial: Trial, cloudly_away: bool, now: Millis) {
        self.trials += 1;
        let number = self.trials;
        self.due = now + Duration::from_secs(trial.budget_seconds.into());
        self.trial = Some(Trial { number, ..trial });
        self.cloudly_away = cloudly_away;
    }

    /// Ends the trial under way, if there is one.
    pub(crate) fn end(&mut self, proved: bool) {
        if let Some(trial) = self.trial.take() {
            self.over = Some(Over {
                number: trial.number,
                commit: trial.commit,
                proved,
            });
        }
    }

    /// Another release was found in the place of the one on trial, whoever has put it there. What the guard reports of
    /// that trial later is known.
    pub(crate) fn displaced(&mut self) {
        if let Some(trial) = &self.trial {
            self.noted = self.noted.max(trial.number);
        }
        self.end(false);
    }

    /// The guard has ended a trial. False: that is known already, or it was none of this agent's.
    pub(crate) fn note_restored(&mut self, number: u64) -> bool {
        if number <= self.noted {
            return false;
        }
        self.noted = number;
        if number > self.trials {
            // Of an agent before this one, whose record is gone. Numbers never come twice.
            self.trials = number;
            return false;
        }
        if self.trial.as_ref().is_some_and(|trial| trial.number == number) {
            self.end(false);
        }
        true
    }
}
