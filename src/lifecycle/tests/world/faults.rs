//! What must never happen, whatever the machine is in.

use super::{MAX_ATTEMPTS, World};
use crate::lifecycle::Effect;
use crate::lifecycle::effect::Port;
use crate::lifecycle::states::State;
use crate::lifecycle::timer::Timer;
use baseos_interfaces::states::AgentState;
use statig::blocking::{State as _, Superstate as _};

impl World {
    /// An effect leaves: at most one operation is under way at a port, and nothing but Register before enrolment.
    pub(super) fn leave(&mut self, effect: &Effect) {
        let enrolled = self.machine.shared().durable.node.is_some();
        let talks = matches!(effect.port(), Port::Cloudly | Port::Supervisor) && effect.op().is_some();
        if talks && !enrolled && !matches!(effect, Effect::Register { .. }) {
            self.faults.push(format!("{} before enrolment", effect.name()));
        }
        if let Some(op) = effect.op()
            && let Some((before, _)) = self.pending.insert(effect.port(), (op, effect.clone()))
        {
            self.faults
                .push(format!("{} {op} while {before} is under way", effect.name()));
        }
        self.effects.push(effect.clone());
    }

    /// Timers only where they belong, attempts within the budget, and nobody waits without a reason.
    pub(super) fn check(&mut self) {
        let state = self.machine.state();
        let mut leaf = state.clone();
        let mut allowed = leaf.timers().to_vec();
        allowed.extend(superstate_timers(&mut leaf));
        for timer in self.machine.shared().timers.armed() {
            if !allowed.contains(&timer) {
                self.faults
                    .push(format!("{timer:?} is armed in {}", state.name()));
            }
        }
        if let Some(update) = state.update()
            && update.attempt > MAX_ATTEMPTS
        {
            self.faults
                .push(format!("attempt {} of {MAX_ATTEMPTS}", update.attempt));
        }
        if let Some(update) = state.update()
            && matches!(state.name(), AgentState::Waiting)
            && update.blocked().is_empty()
        {
            self.faults.push("waiting for nothing".to_owned());
        }
    }
}

/// The timers of the superstates above a leaf.
fn superstate_timers(leaf: &mut State) -> Vec<Timer> {
    let Some(mut first) = leaf.superstate() else {
        return Vec::new();
    };
    let mut timers = first.timers().to_vec();
    if let Some(mut second) = first.superstate() {
        timers.extend(second.timers());
        timers.extend(second.superstate().iter().flat_map(|third| third.timers()));
    }
    timers
}
