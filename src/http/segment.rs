//! A name in a path.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;

use crate::app::App;
use crate::domain::refusal::Refusal;

/// The one variable part of a path. What is no text, or holds a NUL, which PostgreSQL cannot even be asked for, names nothing.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, app).await;
        match text {
            Ok(Path(text)) if !text.contains('\0') => Ok(Self(text)),
            _ => Err(super::nothing_here(app, &parts.uri, &parts.headers, Refusal::NotFound)),
        }
    }
}
