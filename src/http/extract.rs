//! What a handler is given of a request: its issuer, its caller, the name in its path.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::domain::issuer::IssuerId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::bearer::{self, Caller};
use crate::flow::issuers;
use crate::host::{App, DEFAULT_ISSUER, Host};

/// The issuer that a request is for. One that is unknown or disabled looks like a path where nothing is.
impl FromRequestParts<Host> for App {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Error> {
        let id = parts.extensions.get::<IssuerId>().map_or(DEFAULT_ISSUER, IssuerId::as_str);
        issuers::app(host, id).await?.ok_or_else(|| Refusal::NotFound.into())
    }
}

/// The one variable part of a path. What is no text, or holds a NUL, which PostgreSQL cannot even be asked for, names nothing.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<Host> for Segment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Error> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, host).await;
        match text {
            Ok(Path(text)) if !text.contains('\0') => Ok(Self(text)),
            _ => Err(Refusal::NotFound.into()),
        }
    }
}

/// The two variable parts of a path, likewise.
pub(super) struct Segments(pub(super) String, pub(super) String);

impl FromRequestParts<Host> for Segments {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Error> {
        let texts: Result<Path<(String, String)>, PathRejection> = Path::from_request_parts(parts, host).await;
        match texts {
            Ok(Path((first, second))) if !first.contains('\0') && !second.contains('\0') => Ok(Self(first, second)),
            _ => Err(Refusal::NotFound.into()),
        }
    }
}

/// The token of the one `Authorization: Bearer` header (RFC 6750 section 2.1).
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Refusal::BearerInvalid)?,
        (None, _) => return Err(Refusal::BearerMissing),
        _ => return Err(Refusal::BearerInvalid),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Refusal::BearerMissing),
    }
}

/// Who calls, by the one `Authorization: Bearer` header (RFC 6750 section 2.1).
impl FromRequestParts<Host> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Error> {
        let app = App::from_request_parts(parts, host).await?;
        bearer::caller(&app, bearer_token(&parts.headers)?).await
    }
}
