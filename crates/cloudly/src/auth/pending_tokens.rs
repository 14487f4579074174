//! Node tokens that were issued and not used yet. Only hashes are stored, so a token that is sent again until it is
//! used waits here; after a restart another one is issued in its place.

use baseos_interfaces::token::Token;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct PendingTokens(Mutex<HashMap<String, Pending>>);

struct Pending {
    command_id: String,
    token: Token,
}

impl PendingTokens {
    /// The token that waits for `node` because of this command.
    pub(crate) fn get(&self, node: &str, command_id: &str) -> Option<Token> {
        self.lock()
            .get(node)
            .filter(|pending| pending.command_id == command_id)
            .map(|pending| pending.token.clone())
    }

    /// Replaces what waits for `node`.
    pub(crate) fn set(&self, node: &str, command_id: &str, token: Token) {
        let command_id = command_id.to_owned();
        self.lock().insert(node.to_owned(), Pending { command_id, token });
    }

    pub(crate) fn remove(&self, node: &str) {
        self.lock().remove(node);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
