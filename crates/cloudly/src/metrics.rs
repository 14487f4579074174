//! What the server counts, for monitoring. Each part counts its own; the text is Prometheus' (OpenMetrics).

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

type Label<V> = (&'static str, V);
type Durations = Family<[Label<String>; 2], Histogram, fn() -> Histogram>;

/// Clones share their counters.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Heartbeats that reported something, and those that did not.
    heartbeats: Family<[Label<&'static str>; 1], Counter>,
    /// By route, so that no caller makes labels, and by status.
    requests: Durations,
    pub(crate) database: DatabaseMetrics,
    pub(crate) token_hashes: Counter,
    /// Requests whose handler panicked.
    pub(crate) panics: Counter,
    nodes: Family<[Label<&'static str>; 1], Gauge>,
}

/// What the database is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatabaseMetrics {
    pub(crate) reads: Counter,
    pub(crate) writes: Counter,
    pub(crate) presence_writes: Counter,
    /// With SQLite: several transactions may be one commit.
    pub(crate) commits: Counter,
    /// Those who wait to write, with SQLite.
    pub(crate) waiting: Gauge,
    /// Sessions that were in memory.
    pub(crate) session_hits: Counter,
    pub(crate) session_misses: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            heartbeats: Family::default(),
            requests: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 2.0, 15))),
            database: DatabaseMetrics::default(),
            token_hashes: Counter::default(),
            panics: Counter::default(),
            nodes: Family::default(),
        }
    }

    pub(crate) fn heartbeat(&self, reports: bool) {
        let kind = if reports { "report" } else { "small" };
        self.heartbeats.get_or_create(&[("kind", kind)]).inc();
    }

    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How many nodes are in a state of presence.
    pub(crate) fn set_nodes(&self, presence: &'static str, nodes: usize) {
        let nodes = i64::try_from(nodes).unwrap_or(i64::MAX);
        self.nodes.get_or_create(&[("presence", presence)]).set(nodes);
    }

    pub(crate) fn to_text(&self) -> String {
        let mut registry = Registry::with_prefix("cloudly");
        registry.register(
            "heartbeats",
            "Heartbeats that were taken in",
            self.heartbeats.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "How long requests took, by route and status",
            self.requests.clone(),
        );
        registry.register("nodes", "Nodes by presence", self.nodes.clone());
        registry.register(
            "token_hashes",
            "Tokens that were hashed to compare them",
            self.token_hashes.clone(),
        );
        registry.register(
            "panics",
            "Requests that a defect left without an answer",
            self.panics.clone(),
        );
        let database = &self.database;
        for (name, help, counter) in [
            (
                "database_reads",
                "Times that the database was read",
                &database.reads,
            ),
            (
                "database_writes",
                "Transactions, without those for presence",
                &database.writes,
            ),
            (
                "database_presence_writes",
                "Transactions for presence",
                &database.presence_writes,
            ),
            (
                "database_commits",
                "Commits of SQLite, each of one transaction or more",
                &database.commits,
            ),
            (
                "session_hits",
                "Sessions of nodes that were in memory",
                &database.session_hits,
            ),
            (
                "session_misses",
                "Sessions of nodes that were read",
                &database.session_misses,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "database_waiting",
            "Those who wait to write, with SQLite",
            database.waiting.clone(),
        );
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &registry) {
            // Its reader misses the end of the text.
            tracing::error!(%error, "the metrics are not complete");
        }
        text
    }
}
