//! The agent's Prometheus metrics.

use crate::lifecycle::effect::Effect;
use crate::lifecycle::event::Event;
use baseos_interfaces::states::AgentState;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

type Label = (&'static str, &'static str);
type Counters<const N: usize> = Family<[Label; N], Counter>;

/// Every lifecycle state has a gauge, 0 or 1, from the start.
const STATES: [AgentState; 9] = [
    AgentState::Unenrolled,
    AgentState::Registering,
    AgentState::Idle,
    AgentState::Staging,
    AgentState::Waiting,
    AgentState::Applying,
    AgentState::Verifying,
    AgentState::Failed,
    AgentState::RollbackNeeded,
];

/// Clones share their counters.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    events: Counters<1>,
    ignored: Counter,
    transitions: Counters<2>,
    effects: Counters<1>,
    state: Family<[Label; 1], Gauge>,
    heartbeats: Counters<1>,
    cloudly_failures: Gauge,
    locks: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// `version` is the agent's, for the `build` metric.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("baserunner");
        let mut inner = Inner {
            events: register(&mut registry, "events", "Events taken off the bus"),
            ignored: register(&mut registry, "ignored_events", "Events that no state handled"),
            transitions: register(
                &mut registry,
                "transitions",
                "Transitions between lifecycle states",
            ),
            effects: register(&mut registry, "effects", "Effects that the machine emitted"),
            state: register(
                &mut registry,
                "state",
                "1 for the current lifecycle state, 0 for all others",
            ),
            heartbeats: register(&mut registry, "heartbeats", "Heartbeats by result"),
            cloudly_failures: register(
                &mut registry,
                "cloudly_failures",
                "Consecutive failed calls to Cloudly",
            ),
            locks: register(
                &mut registry,
                "locks",
                "Holders for whom the update-lock files are held",
            ),
            registry,
        };
        let build = Info::new([("version", version.to_owned())]);
        inner.registry.register("build", "Version of this agent", build);
        Self(Arc::new(inner))
    }

    /// Counts an event, and the heartbeats and failed calls among them.
    pub fn event(&self, event: &Event) {
        self.0.events.get_or_create(&[("event", event.name())]).inc();
        let heartbeat = |result| {
            self.0.heartbeats.get_or_create(&[("result", result)]).inc();
        };
        match event {
            Event::HeartbeatAnswered { .. } => {
                heartbeat("accepted");
                self.0.cloudly_failures.set(0);
            }
            Event::Registered { .. } => {
                self.0.cloudly_failures.set(0);
            }
            Event::HeartbeatFailed { .. } => {
                heartbeat("failed");
                self.0.cloudly_failures.inc();
            }
            Event::RegisterFailed { .. } => {
                self.0.cloudly_failures.inc();
            }
            _ => {}
        }
    }

    /// Counts an event that no state handled.
    pub fn ignored(&self) {
        self.0.ignored.inc();
    }

    /// Counts an effect, and takes the number of lock holders from it.
    pub fn effect(&self, effect: &Effect) {
        self.0.effects.get_or_create(&[("effect", effect.name())]).inc();
        match effect {
            Effect::HoldLockFiles { holders, .. } => {
                self.0.locks.set(i64::try_from(holders.len()).unwrap_or(i64::MAX));
            }
            Effect::ReleaseLockFiles { .. } => {
                self.0.locks.set(0);
            }
            _ => {}
        }
    }

    /// Counts a transition and makes `to` the current state.
    pub fn transition(&self, from: AgentState, to: AgentState) {
        self.0
            .transitions
            .get_or_create(&[("from", from.as_str()), ("to", to.as_str())])
            .inc();
        self.state(to);
    }

    pub fn state(&self, current: AgentState) {
        for state in STATES {
            let gauge = self.0.state.get_or_create(&[("state", state.as_str())]);
            gauge.set(i64::from(state == current));
        }
    }

    /// The metrics in the OpenMetrics 1.0 text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only for a metric that cannot be encoded; all of these can.
        if encode(&mut text, &self.0.registry).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }
}

fn register<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::effect::OpId;
    use crate::lifecycle::facts::{CallFailure, CallFailureKind};

    fn failed() -> Event {
        let failure = CallFailure {
            kind: CallFailureKind::Unreachable,
            code: None,
            message: String::new(),
            retry_after_seconds: None,
            next_heartbeat_seconds: None,
        };
        Event::HeartbeatFailed { op: OpId(1), failure }
    }

    /// The samples as (name with labels, value); panics on a line that is neither a sample nor a comment.
    fn samples(text: &str) -> Vec<(String, f64)> {
        assert!(text.ends_with("# EOF\n"));
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(n, v)| (n.to_owned(), v.parse().unwrap()))
            .collect()
    }

    fn value(text: &str, name: &str) -> f64 {
        samples(text)
            .into_iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .1
    }

    #[test]
    fn each_metric_is_counted_under_its_name() {
        let metrics = Metrics::new("1.2.3");
        metrics.event(&Event::StopRequested);
        metrics.event(&failed());
        metrics.event(&failed());
        metrics.ignored();
        metrics.effect(&Effect::Stop);
        metrics.effect(&Effect::HoldLockFiles {
            op: OpId(2),
            holders: vec!["onebox".to_owned()],
        });
        metrics.transition(AgentState::Idle, AgentState::Staging);
        let text = metrics.render();
        assert_eq!(
            value(&text, "baserunner_events_total{event=\"heartbeatFailed\"}"),
            2.0
        );
        assert_eq!(
            value(&text, "baserunner_events_total{event=\"stopRequested\"}"),
            1.0
        );
        assert_eq!(value(&text, "baserunner_ignored_events_total"), 1.0);
        assert_eq!(value(&text, "baserunner_effects_total{effect=\"Stop\"}"), 1.0);
        assert_eq!(
            value(
                &text,
                "baserunner_transitions_total{from=\"idle\",to=\"staging\"}"
            ),
            1.0
        );
        assert_eq!(
            value(&text, "baserunner_heartbeats_total{result=\"failed\"}"),
            2.0
        );
        assert_eq!(value(&text, "baserunner_cloudly_failures"), 2.0);
        assert_eq!(value(&text, "baserunner_locks"), 1.0);
        assert_eq!(value(&text, "baserunner_build_info{version=\"1.2.3\"}"), 1.0);
    }

    #[test]
    fn exactly_one_state_is_current() {
        let metrics = Metrics::new("1");
        metrics.state(AgentState::Unenrolled);
        metrics.transition(AgentState::Unenrolled, AgentState::Registering);
        let current: Vec<_> = samples(&metrics.render())
            .into_iter()
            .filter(|(name, value)| name.starts_with("baserunner_state{") && *value != 0.0)
            .collect();
        assert_eq!(
            current,
            [("baserunner_state{state=\"registering\"}".to_owned(), 1.0)]
        );
    }
}
