//! Tests of the machine as a whole, in a simulated world that is as pure as the machine.

mod diagram;
mod golden;
mod healing;
mod invariants;
mod model;
mod regressions;
mod service_exits;
pub(super) mod states;
mod world;
