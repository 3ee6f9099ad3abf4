//! `/api/v1`: REST with bearer tokens, one file for each resource.

pub(super) mod delegations;

use axum::http::{HeaderMap, header};

use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::bearer::{self, Caller};
use crate::host::App;

/// Who calls, by the one `Authorization: Bearer` header (RFC 6750 section 2.1).
async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Refusal::BearerInvalid)?,
        (None, _) => return Err(Refusal::BearerMissing.into()),
        _ => return Err(Refusal::BearerInvalid.into()),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => bearer::caller(app, token.trim()).await,
        _ => Err(Refusal::BearerMissing.into()),
    }
}
