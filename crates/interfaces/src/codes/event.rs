//! What happens on a node: `events[].type`.

super::table::wire_names! {
    /// The type of a node's event; decides what its `data` holds (contract §4).
    pub enum EventKind {
        /// The lifecycle moved: `from`, `to`, `cause`.
        Transition = "transition",
        /// An update reached its end: the release and how it ended.
        UpdateFinished = "updateFinished",
        /// An update lock was not renewed in time and ended.
        LeaseExpired = "leaseExpired",
        /// The Supervisor was given a target by somebody else.
        ForeignTarget = "foreignTarget",
        /// The agent has done something about services that had stopped: what was found and what was done.
        ServiceHealing = "serviceHealing",
        /// The agent could not use its stored checkpoint: `problem`.
        CheckpointUnusable = "checkpointUnusable",
    }
}
