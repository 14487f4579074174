//! Operators.

use super::app::App;
use super::error::{Error, Result};
use crate::auth::operators::Operator;
use baseos_interfaces::token::{Token, TokenKind};
use std::net::IpAddr;

/// The operator behind a bearer token.
pub(crate) fn authenticate(app: &App, ip: IpAddr, bearer: Option<&str>) -> Result<Operator> {
    let token = bearer.and_then(|text| Token::parse(TokenKind::Admin, text).ok());
    let operator = token
        .as_ref()
        .and_then(|token| app.admin_token.verify(token, &app.pepper));
    if let Some(operator) = operator {
        return Ok(operator);
    }
    app.count_failure(ip)?;
    tracing::warn!(%ip, token = token.as_ref().map(|t| t.id().as_str()), "an admin request was refused");
    Err(Error::AdminTokenInvalid)
}
