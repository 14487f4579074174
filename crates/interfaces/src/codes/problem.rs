//! What is wrong with a request: `code` of a problem.

super::table::wire_names! {
    /// The code of a [`crate::problem::Problem`] (contract §1, §6). For people and metrics: clients act on the status
    /// and on `retryable`.
    pub enum ProblemCode {
        /// 401: unknown, expired, revoked and spent join tokens look the same from outside.
        JoinTokenInvalid = "joinTokenInvalid",
        /// 401: the node token is not accepted.
        NodeTokenInvalid = "nodeTokenInvalid",
        /// 401: the admin token is not accepted.
        AdminTokenInvalid = "adminTokenInvalid",
        /// 401: the local API's token is not accepted.
        LocalTokenInvalid = "localTokenInvalid",
        /// 403: an operator suspended the node.
        NodeSuspended = "nodeSuspended",
        /// 403: the caller may not do this.
        Forbidden = "forbidden",
        /// 404: there is no such thing.
        NotFound = "notFound",
        /// 405: the path exists, not with this method.
        MethodNotAllowed = "methodNotAllowed",
        /// 409: two agents seem to use one identity.
        CloneSuspected = "cloneSuspected",
        /// 409: not in this state.
        Conflict = "conflict",
        /// 410: an operator removed the node.
        NodeRemoved = "nodeRemoved",
        /// 412: not the revision that `If-Match` names.
        RevisionChanged = "revisionChanged",
        /// 413: the body is larger than [`crate::limits`] allow.
        PayloadTooLarge = "payloadTooLarge",
        /// 415: not JSON.
        UnsupportedMediaType = "unsupportedMediaType",
        /// 421: not the host that the request is for.
        MisdirectedRequest = "misdirectedRequest",
        /// 422 (400, 408): the request is not understood; `errors` names the members.
        InvalidRequest = "invalidRequest",
        /// 423: an update is waiting for the locks to end, so no new one is given.
        Locked = "locked",
        /// 426: the peer speaks a protocol that is no longer served.
        ProtocolTooOld = "protocolTooOld",
        /// 429: too many requests.
        RateLimited = "rateLimited",
        /// 503: not now.
        Unavailable = "unavailable",
        /// 500: a fault of the server.
        Internal = "internal",
    }
}
