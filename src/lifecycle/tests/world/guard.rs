//! The guard of the agent's own update in this world.

use super::{World, commit, release};
use crate::lifecycle::facts::{GuardFacts, GuardSettings};
use crate::lifecycle::guard::files::Restored;
use baseos_interfaces::rules::GUARD_SERVICE;
use std::time::Duration;

impl World {
    /// As [`World::enrolled`], with an agent that has a guard.
    pub(crate) fn guarded() -> Self {
        let mut world = Self::enrolled();
        world.run.guard = Some(GuardSettings {
            budget_seconds: 600,
            report: None,
        });
        world.restart(false);
        world
    }

    /// The new agent never came up, and the guard puts the proven release back: that release's agent starts.
    pub(crate) fn guard_restores(&mut self) {
        self.put_back();
        self.guard_reports(1);
        self.restart(false);
    }

    /// The same after this time, and the guard cannot write its report.
    pub(crate) fn guard_restores_unreported(&mut self, after: Duration) {
        self.put_back();
        self.stay_away(after);
    }

    /// What the next process finds: the guard has ended trial `number`, which was about release 2.
    pub(crate) fn guard_reports(&mut self, number: u64) {
        let restored = Restored {
            number,
            commit: commit(2),
            to: commit(1),
            evidence: vec!["baserunner: exited".to_owned()],
            at: self.clock.wall,
            accepted: true,
            noted: false,
        };
        if let Some(settings) = &mut self.run.guard {
            settings.report = Some(GuardFacts {
                restored: Some(restored),
                ..GuardFacts::default()
            });
        }
    }

    /// Release 1 takes the place of release 2, in new containers.
    fn put_back(&mut self) {
        let durable = &self.disk.durable;
        assert_eq!(durable.guard.trial().map(|trial| &trial.commit), Some(&commit(2)));
        assert!(durable.is_proven(&commit(1)));
        self.images = durable.target.images(&commit(1)).unwrap().clone();
        self.images.insert(GUARD_SERVICE.to_owned(), 1);
        self.target = Some(release(1));
        self.remade += 1;
    }
}
