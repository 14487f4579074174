//! What every request handler shares.

use crate::clock::Clock;
use crate::error::{Answer, ApiError};
use crate::keys::Pepper;
use crate::presence::Presence;
use crate::rate::Buckets;
use crate::settings::Settings;
use crate::storage::{Connection, Storage, operations};
use baseos_interfaces::Timestamp;
use baseos_interfaces::problem::{Problem, code};
use baseos_interfaces::token::{Token, TokenKind};
use serde_json::Value;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The running server's parts.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) started_at: Timestamp,
    pub(crate) storage: Storage,
    pub(crate) pepper: Pepper,
    pub(crate) presence: Presence,
    pub(crate) admin_id: String,
    pub(crate) admin_mac: String,
    pub(crate) node_rates: Buckets<String>,
    pub(crate) failure_rates: Buckets<IpAddr>,
    /// Node tokens on their way to their nodes, by node: only hashes are stored, so a token that has to be sent
    /// again until it is used waits here. After a restart another one is made.
    credentials: Mutex<HashMap<String, (String, Token)>>,
}

/// Who makes an admin request: the public id of the admin token.
#[derive(Clone, Debug)]
pub(crate) struct Operator(pub(crate) String);

impl App {
    pub(crate) fn new(
        settings: Settings,
        clock: Clock,
        storage: Storage,
        pepper: Pepper,
        presence: Presence,
        admin: &Token,
    ) -> Self {
        Self {
            started_at: clock.now(),
            node_rates: Buckets::new(settings.node_rate),
            failure_rates: Buckets::new(settings.failure_rate),
            admin_id: admin.id().to_string(),
            admin_mac: pepper.mac(admin),
            credentials: Mutex::new(HashMap::new()),
            settings,
            clock,
            storage,
            pepper,
            presence,
        }
    }

    /// Lets an operator in.
    pub(crate) fn operator(&self, ip: IpAddr, bearer: Option<&str>) -> Answer<Operator> {
        let token = bearer.and_then(|text| Token::parse(TokenKind::Admin, text).ok());
        let known = token.as_ref().is_some_and(|token| {
            let stored = (token.id().as_str() == self.admin_id).then_some(self.admin_mac.as_str());
            self.pepper.verify(token, stored)
        });
        if known {
            return Ok(Operator(self.admin_id.clone()));
        }
        self.failed(ip)?;
        tracing::warn!(%ip, token = token.as_ref().map(|t| t.id().as_str()), "an admin request was refused");
        Err(Problem::new(
            401,
            code::ADMIN_TOKEN_INVALID,
            "the admin token is missing or not accepted",
        )
        .into())
    }

    /// Counts a wrong token against the address it came from. A right token is never held up by wrong ones.
    pub(crate) fn failed(&self, ip: IpAddr) -> Answer<()> {
        self.failure_rates
            .take(ip, self.clock.now())
            .map_err(ApiError::rate_limited)
    }

    /// The token that waits to be sent for this command.
    pub(crate) fn waiting_credentials(&self, node: &str, command: &str) -> Option<Token> {
        let waiting = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .get(node)
            .filter(|(for_command, _)| for_command == command)
            .map(|(_, token)| token.clone())
    }

    /// Keeps a token to be sent again, or forgets it.
    pub(crate) fn set_credentials(&self, node: &str, credentials: Option<(String, Token)>) {
        let mut waiting = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        match credentials {
            Some(credentials) => waiting.insert(node.to_owned(), credentials),
            None => waiting.remove(node),
        };
    }

    /// Appends to the audit log.
    pub(crate) async fn audit(
        &self,
        c: &mut Connection,
        actor: &str,
        action: &str,
        subject: Option<&str>,
        data: Value,
    ) -> Answer<()> {
        tracing::info!(actor, action, subject, %data, "audit");
        Ok(operations::audit(c, self.clock.now(), actor, action, subject, &data).await?)
    }
}
