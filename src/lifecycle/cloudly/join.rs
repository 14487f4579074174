//! Join tokens: what became of them, and whether one that is offered may be used.

use crate::lifecycle::facts::JoinOffer;
use baseos_interfaces::Timestamp;
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Join {
    /// The registration under way: on disk before the first call, repeated until it is answered.
    registration: Option<PendingRegistration>,
    refused: Option<RefusedToken>,
    /// Used up: never offered again for this identity.
    spent: Option<TokenId>,
}

/// A registration that is not yet confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingRegistration {
    /// The join token's public id.
    pub(crate) token: TokenId,
    /// The registration's own id.
    pub(crate) id: RegistrationId,
    /// How often Cloudly has given an identity for it, of which no heartbeat is accepted yet.
    #[serde(default)]
    pub(crate) answers: u32,
}

/// A join token Cloudly refused: final until another one comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedToken {
    pub(crate) token: TokenId,
    /// Cloudly's reason.
    pub(crate) reason: String,
    /// Device's clock.
    at: Timestamp,
}

impl RefusedToken {
    pub(crate) fn in_words(&self) -> String {
        format!("Cloudly refused the join token {}: {}", self.token, self.reason)
    }
}

impl Join {
    /// Whether an offered token may be used.
    ///
    /// # Errors
    /// The reason.
    pub(crate) fn may_use(&self, offer: &JoinOffer) -> Result<TokenId, String> {
        let token = offer
            .token
            .clone()
            .map_err(|problem| format!("the join token is malformed: {problem}"))?;
        if let Some(refused) = self.refused.as_ref().filter(|refused| refused.token == token) {
            return Err(refused.in_words());
        }
        if self.spent.as_ref() == Some(&token) {
            return Err(format!("the join token {token} is spent"));
        }
        Ok(token)
    }

    pub(crate) fn registration(&self) -> Option<&PendingRegistration> {
        self.registration.as_ref()
    }

    pub(crate) fn refused(&self) -> Option<&RefusedToken> {
        self.refused.as_ref()
    }

    /// Whether a registration with this token is under way.
    pub(crate) fn is_registering_with(&self, token: &TokenId) -> bool {
        self.registration
            .as_ref()
            .is_some_and(|pending| pending.token == *token)
    }

    /// Begins a registration. The same token keeps the id it has, so repeating it after a crash spends nothing.
    pub(crate) fn begin(&mut self, token: TokenId, fresh_id: &RegistrationId) {
        if !self.is_registering_with(&token) {
            self.registration = Some(PendingRegistration {
                token,
                id: fresh_id.clone(),
                answers: 0,
            });
        }
    }

    /// Cloudly gave an identity.
    pub(crate) fn registered(&mut self) {
        self.refused = None;
        if let Some(pending) = &mut self.registration {
            pending.answers = pending.answers.saturating_add(1);
        }
    }

    /// Cloudly refused the token of the registration under way; returns it.
    pub(crate) fn refuse(&mut self, reason: &str, at: Timestamp) -> Option<TokenId> {
        let token = self.registration.take()?.token;
        self.refused = Some(RefusedToken {
            token: token.clone(),
            reason: reason.to_owned(),
            at,
        });
        Some(token)
    }

    /// Gives the registration under way up without a verdict on its token; returns it.
    pub(crate) fn abandon(&mut self) -> Option<TokenId> {
        Some(self.registration.take()?.token)
    }

    /// The identity was confirmed by an accepted heartbeat: its token is spent. Returns it.
    pub(crate) fn spend(&mut self) -> Option<TokenId> {
        let token = self.registration.take()?.token;
        self.spent = Some(token.clone());
        Some(token)
    }
}
