//! The modelled store's node tokens, each told by the node that it is good for.

use crate::lifecycle::cloudly::identity::Node;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    current: Option<String>,
    /// Until Cloudly has accepted one of the two.
    earlier: Option<String>,
    /// Whether the current one was refused last.
    refused: bool,
}

impl Tokens {
    pub(super) fn of(node: Option<&Node>) -> Self {
        Self {
            current: node.and_then(|node| node.id.clone()),
            ..Self::default()
        }
    }

    /// The node that the next heartbeat is one of.
    pub(crate) fn in_use(&self) -> Option<&String> {
        let earlier = self.earlier.as_ref().filter(|_| self.refused);
        earlier.or(self.current.as_ref())
    }

    pub(super) fn registered(&mut self, node: &str) {
        let before = self.in_use().cloned();
        *self = Self {
            current: Some(node.to_owned()),
            earlier: self.earlier.take().or(before),
            refused: false,
        };
    }

    pub(super) fn accepted(&mut self) -> Option<String> {
        let node = self.in_use().cloned();
        *self = Self {
            current: node.clone(),
            ..Self::default()
        };
        node
    }

    pub(super) fn refused(&mut self) {
        self.refused = !self.refused;
    }

    pub(super) fn restart(&mut self) {
        self.refused = false;
    }
}
