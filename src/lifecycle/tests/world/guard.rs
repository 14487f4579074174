//! The guard of the agent's own update in this world.

use super::{World, commit, release};
use crate::lifecycle::facts::{GuardFacts, GuardSettings};
use crate::lifecycle::guard::files::Restored;
use baseos_interfaces::rules::GUARD_SERVICE;

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
        let durable = &self.disk.durable;
        let (Some(trial), Some(proven)) = (durable.guard.trial(), &durable.proven) else {
            panic!("nothing is on trial");
        };
        let restored = Restored {
            number: trial.number,
            commit: trial.commit.clone(),
            to: proven.commit.clone(),
            evidence: vec!["baserunner: exited".to_owned()],
            at: self.clock.wall,
            accepted: true,
        };
        let number = (1..=4).find(|number| commit(*number) == proven.commit).unwrap();
        self.images = durable.target.images(&proven.commit).unwrap().clone();
        self.images.insert(GUARD_SERVICE.to_owned(), 1);
        self.target = Some(release(number));
        if let Some(settings) = &mut self.run.guard {
            settings.report = Some(GuardFacts {
                restored: Some(restored),
                ..GuardFacts::default()
            });
        }
        self.restart(false);
    }
}
