//! A name in a path.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;

use crate::domain::refusal::Refusal;
use crate::host::{App, Host};

/// The one variable part of a path. What is no text, or holds a NUL, which PostgreSQL cannot even be asked for, names nothing.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<Host> for Segment {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Response> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, host).await;
        match text {
            Ok(Path(text)) if !text.contains('\0') => Ok(Self(text)),
            _ => {
                let app = App::from_request_parts(parts, host).await?;
                Err(super::nothing_here(&app, &parts.uri, &parts.headers, Refusal::NotFound))
            }
        }
    }
}
