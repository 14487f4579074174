//! How replies, offers and wishes are said to the machine.

use super::{LocalRequest, Reply};
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::facts::{CallFailure, CallFailureKind, JoinOffer};
use baseos_interfaces::local::{DeferRequest, LockRequest, LockScope};
use baseos_interfaces::registration::RegistrationId;
use baseos_interfaces::token::TokenId;

pub(super) fn call_failure(reply: Reply) -> Option<CallFailure> {
    let kind = match reply {
        Reply::Good => return None,
        Reply::Refused => CallFailureKind::Unauthorized,
        Reply::Gone => CallFailureKind::Removed,
        Reply::Unavailable => CallFailureKind::Unavailable,
    };
    let message = format!("{kind:?}").to_lowercase();
    Some(CallFailure {
        kind,
        code: None,
        message,
        retry_after_seconds: None,
        next_heartbeat_seconds: None,
    })
}

pub(super) fn join_offer(token: u8, replace: bool) -> JoinOffer {
    let token = if token == 0 {
        Err("a join token starts with `szj_`".to_owned())
    } else {
        Ok(TokenId::new(format!("token{token:05}")))
    };
    JoinOffer {
        token,
        registration_id: RegistrationId::parse("0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20").unwrap(),
        replace,
    }
}

pub(super) fn local_call(request: LocalRequest) -> LocalCall {
    let owner = "onebox".to_owned();
    match request {
        LocalRequest::Status => LocalCall::Status,
        LocalRequest::Check => LocalCall::Check,
        LocalRequest::Approve => LocalCall::Approve,
        LocalRequest::Defer => LocalCall::Defer(DeferRequest {
            until_seconds: 600,
            reason: "busy".into(),
        }),
        LocalRequest::Lock => LocalCall::Lock {
            name: "backup".into(),
            owner,
            request: LockRequest {
                reason: "backup running".into(),
                ttl_seconds: 300,
                scope: LockScope::App,
            },
        },
        LocalRequest::Unlock => LocalCall::Unlock {
            name: "backup".into(),
            owner,
        },
        LocalRequest::Doctor => LocalCall::Doctor,
    }
}
