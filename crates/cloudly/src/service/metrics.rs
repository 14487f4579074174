//! What monitoring reads.

use super::app::App;
use baseos_interfaces::admin::PresenceState;

/// The metrics as Prometheus reads them, with the nodes' presence as it is now.
pub(crate) fn text(app: &App) -> String {
    let states = app.presence.states(app.clock.now(), app.started_at);
    for (state, name) in [
        (PresenceState::Online, "online"),
        (PresenceState::Late, "late"),
        (PresenceState::Offline, "offline"),
        (PresenceState::Unknown, "unknown"),
    ] {
        let nodes = states.iter().filter(|other| **other == state).count();
        app.metrics.set_nodes(name, nodes);
    }
    app.metrics.to_text()
}
