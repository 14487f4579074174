//! Unenrolled: no node token. Leaves when a join token is configured or arrives over the local API.

use super::State;
use super::registering::Registering;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::signal::{Input, Signal};
use serde::{Deserialize, Serialize};
use statig::Outcome;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unenrolled {
    /// What is wrong with the join token that was offered; `None`: none was.
    pub(crate) problem: Option<String>,
}

impl Unenrolled {
    pub(super) fn handle(&mut self, l: &mut Shared, input: Input<'_>) -> Outcome<State> {
        let Input::Signal(Signal::JoinOffered(offer)) = input else {
            return Outcome::Super;
        };
        match l.durable.join.may_use(offer) {
            Ok(token) => Outcome::Transition(Registering::with(l, token, &offer.registration_id)),
            Err(problem) => {
                self.problem = Some(problem);
                Outcome::Handled
            }
        }
    }

    /// One sentence for people.
    pub(crate) fn summary(&self) -> String {
        match &self.problem {
            Some(problem) => {
                // Some problems end with a question.
                let end = if problem.ends_with('?') { "" } else { "." };
                format!("Not enrolled: {problem}{end} A new join token is needed.")
            }
            None => "Not enrolled: waiting for a join token.".to_owned(),
        }
    }
}
