//! Tests of the machine as a whole, in a simulated world that is as pure as the machine.

mod diagram;
mod doctor;
mod golden;
mod guard;
mod healing;
mod invariants;
mod model;
mod progress;
mod regressions;
mod reports;
mod service_exits;
pub(super) mod states;
mod unknown_stops;
mod unused_images;
mod wall_clock;
pub(super) mod world;
