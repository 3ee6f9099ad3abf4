//! The forms an error takes.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::pages::{ErrorPage, Site};
use super::super::reply;
use super::{Back, PublicError};
use crate::domain::refusal::Refusal;
use crate::domain::time::Seconds;
use crate::flow::authorize;

/// JSON of the OAuth endpoints (RFC 6749 section 5.2, contract "Token exchange").
#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'static str,
    error_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

pub(super) fn oauth(error: &PublicError<'_>) -> Response {
    let mut body = OAuthError {
        error: error.code,
        error_description: ascii(&error.description),
        consent_uri: None,
        expires_in: None,
        interval: None,
        max_age: None,
        request_id: error.request_id,
    };
    match error.refusal {
        Some(Refusal::ConsentRequired(question) | Refusal::SlowDown(question)) => {
            body.consent_uri = Some(&question.consent_uri);
            body.expires_in = Some(question.expires_in);
            body.interval = Some(question.interval);
        }
        Some(Refusal::StepUp { max_age }) => body.max_age = Some(*max_age),
        // "Equivalent to prompt=login" (OpenID Connect Core section 3.1.2.1).
        Some(Refusal::SignInAhead) => body.max_age = Some(Seconds(0)),
        _ => {}
    }
    reply::private_json(error.status, &body)
}

pub(super) fn redirect(back: &Back, error: &PublicError<'_>) -> Response {
    let description = ascii(&error.description);
    let params = [("error", error.code), ("error_description", &description)];
    reply::see_other(&authorize::answer(&back.app, &back.redirect_uri, back.state.as_deref(), &params))
}

/// Problem details (RFC 9457 section 3).
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Problem<'a> {
    /// Always `about:blank`: `code` says more than an address would.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// Which refusal it is; never renamed.
    code: &'static str,
    /// What was wrong, for whoever wrote the request.
    detail: &'a str,
    /// When the same request may be made without force; only where a guard refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    allowed_at: Option<String>,
    /// Where to find it in the log; only when the fault is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

pub(super) fn problem(error: &PublicError<'_>) -> Response {
    let mut response = reply::json_as(
        error.status,
        "application/problem+json",
        &Problem {
            r#type: "about:blank",
            title: error.status.canonical_reason().unwrap_or("Error"),
            status: error.status.as_u16(),
            code: error.code,
            detail: &error.description,
            allowed_at: match error.refusal {
                Some(Refusal::KeyNotYet { at, .. }) => Some(at.rfc3339()),
                _ => None,
            },
            request_id: error.request_id,
        },
    );
    reply::no_store(&mut response);
    response
}

pub(super) fn page(site: Site, error: &PublicError<'_>) -> Response {
    let title = match error.status.as_u16() {
        400 => "This request cannot be answered",
        403 => "That did not come from our page",
        404 => "There is nothing here",
        405 => "Nothing here can be asked for in this way",
        408 => "That took too long",
        409 => "This question is closed",
        413 | 415 => "This form cannot be read",
        429 => "Too many attempts",
        503 => "We are busy",
        _ => "Something went wrong",
    };
    let message = match error.refusal {
        Some(Refusal::NotFound) => "The address may be mistyped, or what was here is over.".to_owned(),
        Some(
            Refusal::AuthorizeClientUnknown | Refusal::RedirectUriUnknown | Refusal::Missing(_) | Refusal::Twice(_),
        ) => {
            "The agent or link that sent you here made a mistake. Go back to where you came from and try again; if that doesn't help, \
             tell whoever runs it."
                .to_owned()
        }
        Some(_) => error.description.clone(),
        None => "It is our fault, not yours. Please try again in a moment.".to_owned(),
    };
    // For whoever wrote the request; the user can do nothing with it.
    let technical = matches!(error.status.as_u16(), 400 | 413 | 415).then(|| error.description.clone());
    let technical = technical.filter(|technical| *technical != message);
    let page =
        ErrorPage { site, title: title.into(), message, technical, request_id: error.request_id.map(str::to_owned) };
    reply::page(error.status, &page.html())
}

/// `error_description` may hold printable ASCII without quotes and backslashes only (RFC 6749 section 5.2).
fn ascii(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) && c != '"' && c != '\\' { c } else { '?' }).collect()
}
