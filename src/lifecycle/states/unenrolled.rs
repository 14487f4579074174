//! Unenrolled: no node token. Leaves when a join token is configured or arrives over the local API.

use super::State;
use super::registering::Registering;
use crate::lifecycle::event::Event;
use crate::lifecycle::facts::JoinOffer;
use crate::lifecycle::machine::Lifecycle;
use baseos_interfaces::token::TokenId;
use serde::{Deserialize, Serialize};
use statig::Outcome;

/// Why it is not enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unenrolled {
    /// What is wrong with the join token that was offered; `None`: none was.
    pub problem: Option<String>,
}

impl Unenrolled {
    pub(super) fn handle(&mut self, l: &mut Lifecycle, event: &Event) -> Outcome<State> {
        match event {
            Event::JoinTokenOffered(offer) => match l.taken_up(offer) {
                Ok(token) => Outcome::Transition(State::Registering(Registering::new(
                    l,
                    token,
                    &offer.registration_id,
                ))),
                Err(problem) => {
                    self.problem = Some(problem);
                    Outcome::Handled
                }
            },
            _ => Outcome::Super,
        }
    }

    pub(in crate::lifecycle) fn summary(&self) -> String {
        match &self.problem {
            Some(problem) => format!("Not enrolled: {problem}. A new join token is needed."),
            None => "Not enrolled: waiting for a join token.".to_owned(),
        }
    }
}

impl Lifecycle {
    /// Whether an offered join token may be used, and if not, why.
    pub(super) fn taken_up(&self, offer: &JoinOffer) -> Result<TokenId, String> {
        let token = offer
            .token
            .clone()
            .map_err(|problem| format!("the join token is malformed: {problem}"))?;
        let join = &self.book.join;
        if let Some(refused) = join.refused.as_ref().filter(|refused| refused.token == token) {
            return Err(format!(
                "Cloudly refused the join token {token}: {}",
                refused.reason
            ));
        }
        if join.spent.as_ref() == Some(&token) {
            return Err(format!("the join token {token} is spent"));
        }
        Ok(token)
    }
}
