//! What a side can do beyond the protocol version.

super::table::wire_names! {
    /// A capability: in the registration and its answer (contract §3), and in the local API's handshake (§6). A side
    /// uses what the other names, and ignores names it does not know.
    pub enum Capability {
        /// Agent: executes commands. Cloudly: sends them.
        Commands = "commands",
        /// Agent: gives Onebox update locks on its local API.
        LocalLocks = "localLocks",
        /// Agent: applies releases on an unmanaged Supervisor with `POST /v2/local/target-state`.
        DirectTarget = "directTarget",
        /// Cloudly: asks for the full status when it misses one.
        ResendFullStatus = "resendFullStatus",
        /// Local API: `PUT /v1/locks/{name}`.
        Locks = "locks",
        /// Local API: `POST /v1/update/approve` and `/defer`.
        UpdateConsent = "updateConsent",
        /// Local API: `GET /v1/events`.
        Events = "events",
        /// Local API: `POST /v1/join`.
        Join = "join",
    }
}
