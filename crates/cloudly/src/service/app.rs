//! What all services share.

use super::error::{Error, Result};
use crate::auth::limits::{Buckets, source};
use crate::auth::operators::AdminToken;
use crate::auth::pending_tokens::PendingTokens;
use crate::auth::pepper::Pepper;
use crate::auth::refusals::Refusals;
use crate::auth::refused_tokens::RefusedTokens;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::presence::cache::PresenceCache;
use crate::settings::Settings;
use crate::storage::database::Storage;
use baseos_interfaces::Timestamp;
use baseos_interfaces::token::Token;
use std::net::IpAddr;

/// The parts of a running server. What is `pub(super)` is for services alone.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(super) started_at: Timestamp,
    pub(super) storage: Storage,
    pub(super) pepper: Pepper,
    pub(super) presence: PresenceCache,
    pub(super) admin_token: AdminToken,
    pub(super) pending_tokens: PendingTokens,
    pub(super) refusals: Refusals,
    pub(super) refused_tokens: RefusedTokens,
    /// By node, and by registration before there is a node.
    node_limits: Buckets<String>,
    /// By source.
    failure_limits: Buckets<IpAddr>,
}

impl App {
    pub(crate) fn new(
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        storage: Storage,
        pepper: Pepper,
        presence: PresenceCache,
        admin: &Token,
    ) -> Self {
        Self {
            started_at: clock.now(),
            admin_token: AdminToken::new(admin, &pepper),
            pending_tokens: PendingTokens::default(),
            refusals: Refusals::default(),
            refused_tokens: RefusedTokens::default(),
            node_limits: Buckets::new(settings.node_rate),
            failure_limits: Buckets::new(settings.failure_rate),
            settings,
            clock,
            metrics,
            storage,
            pepper,
            presence,
        }
    }

    /// Counts a wrong token against its address. A right token is never held up by wrong ones.
    pub(super) fn count_failure(&self, ip: IpAddr) -> Result<()> {
        self.failure_limits
            .take(source(ip), self.clock.now())
            .map_err(|retry_after_seconds| Error::RateLimited { retry_after_seconds })
    }

    /// Counts a request of a node.
    pub(super) fn count_request(&self, node: String) -> Result<()> {
        self.node_limits
            .take(node, self.clock.now())
            .map_err(|retry_after_seconds| Error::RateLimited { retry_after_seconds })
    }

    /// Waits for running statements and closes the database.
    pub(crate) async fn close(&self) {
        self.storage.close().await;
    }
}
