//! The one map from refusals to codes and statuses, and the forms an error takes: JSON at the OAuth endpoints, a redirect from the
//! authorization endpoint, problem details at the API, a page for people. Logged once, here.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::pages::{ErrorPage, Site};
use super::place::Family;
use super::reply;
use crate::domain::issuer::IssuerId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::{authorize, issuers};
use crate::host::{App, DEFAULT_ISSUER, Host};

/// Code and status of each refusal. Codes are those of RFC 6749 section 5.2 and 4.1.2.1, RFC 6750 section 3.1, RFC 8693 section 2.2.2,
/// OpenID Connect Core section 3.1.2.6, RFC 8628 section 3.5 (`slow_down`) and ID-JAG draft -04 section 9.2; `consent_required` at the
/// token endpoint is ours (contract, "Token exchange").
#[must_use]
pub fn code_and_status(refusal: &Refusal) -> (&'static str, u16) {
    use Refusal as R;
    match refusal {
        R::NotAForm => ("invalid_request", 415),
        R::BodyTooLarge => ("invalid_request", 413),
        R::BodyIncomplete => ("invalid_request", 408),
        R::Missing(_)
        | R::Twice(_)
        | R::Malformed(..)
        | R::NotSupported(_)
        | R::ClientAuthenticationTwice
        | R::AuthorizeClientUnknown
        | R::RedirectUriUnknown
        | R::BadQuery(_)
        | R::TicketMismatch => ("invalid_request", 400),
        R::GrantTypeUnsupported => ("unsupported_grant_type", 400),
        R::GrantTypeNotAllowed => ("unauthorized_client", 400),
        R::ClientUnauthenticated | R::ClientAuthenticationFailed | R::ClientAssertion(_) => ("invalid_client", 401),
        R::CodeInvalid | R::CodeRedirectMismatch | R::CodeVerifierWrong | R::RefreshInvalid | R::SubjectToken(_) => {
            ("invalid_grant", 400)
        }
        R::ScopeMalformed | R::ScopeNotGrantable(_) => ("invalid_scope", 400),
        R::ResponseTypeUnsupported => ("unsupported_response_type", 400),
        R::LoginRequired => ("login_required", 400),
        R::SignInConsentRequired | R::ConsentRequired { .. } => ("consent_required", 400),
        R::SignInDenied | R::Denied | R::NoVerifiedContact => ("access_denied", 400),
        R::RequestNotSupported => ("request_not_supported", 400),
        R::RequestUriNotSupported => ("request_uri_not_supported", 400),
        R::AudienceTwice
        | R::AudienceMalformed(_)
        | R::AudienceNotAllowed
        | R::AudienceOwn
        | R::ResourceMalformed(_)
        | R::ResourceNotOfAudience => ("invalid_target", 400),
        R::SlowDown { .. } | R::TooManyQuestions => ("slow_down", 400),
        R::StepUp { .. } => ("insufficient_user_authentication", 400),
        R::BearerMissing | R::BearerInvalid => ("invalid_token", 401),
        R::BearerScope(_) => ("insufficient_scope", 403),
        R::CredentialsWrong => ("access_denied", 401),
        R::Throttled(_) => ("slow_down", 429),
        R::CrossSite => ("cross_site", 403),
        R::NotFound => ("not_found", 404),
        R::TicketClosed => ("ticket_closed", 409),
        R::MethodNotAllowed => ("method_not_allowed", 405),
        R::Busy => ("temporarily_unavailable", 503),
    }
}

/// An error on its way out of a handler: the layer around the routes gives it its form, which depends on the request.
#[derive(Clone)]
pub(super) struct Failed {
    error: Arc<Error>,
    back: Option<Arc<Back>>,
}

/// A redirect URI that is trusted, which an error goes back to (RFC 6749 section 4.1.2.1).
pub(super) struct Back {
    pub(super) app: App,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
}

impl Failed {
    /// An error that its client hears of by a redirect.
    pub(super) fn back(error: Error, back: Back) -> Self {
        Self { error: Arc::new(error), back: Some(Arc::new(back)) }
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: Arc::new(error.into()), back: None }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Failed::from(self).into_response()
    }
}

/// What an error's form depends on.
pub(super) struct Asked {
    /// The request's id, for whoever has to find it in the log.
    pub(super) id: String,
    form: Form,
    issuer: Option<IssuerId>,
    /// The client tried the `Authorization` header: then a 401 names that scheme (RFC 6749 section 5.2).
    authorization: bool,
}

enum Form {
    /// RFC 6749 section 5.2.
    OAuth,
    /// RFC 9457.
    Problem,
    Page,
}

impl Asked {
    /// Looks at a request whose path is inside its issuer.
    pub(super) fn of(request: &Request, id: String) -> Self {
        let form = match Family::of(request.uri().path()) {
            Family::Protocol => Form::OAuth,
            Family::Pages if takes_html(request.headers()) => Form::Page,
            Family::Pages | Family::Api => Form::Problem,
        };
        let issuer = request.extensions().get::<IssuerId>().cloned();
        Self { id, form, issuer, authorization: request.headers().contains_key(header::AUTHORIZATION) }
    }
}

/// Whether a page can be shown: only who says what they take, and does not name it, gets none.
fn takes_html(headers: &HeaderMap) -> bool {
    let mut accept = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    accept.peek().is_none() || accept.any(|line| ["text/html", "text/*", "*/*"].iter().any(|kind| line.contains(kind)))
}

/// What the outside is told of an error: the refusal, or for a fault nothing but an id to find it by.
struct PublicError<'a> {
    code: &'static str,
    status: StatusCode,
    description: String,
    refusal: Option<&'a Refusal>,
    request_id: Option<&'a str>,
}

impl<'a> PublicError<'a> {
    fn of(error: &'a Error, asked: &'a Asked) -> Self {
        match error {
            Error::Refused(refusal) => Self {
                code: code_and_status(refusal).0,
                status: status(refusal),
                description: refusal.to_string(),
                refusal: Some(refusal),
                request_id: None,
            },
            Error::Fault(_) => Self {
                code: "server_error",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                description: format!("something went wrong here; the operator finds it as {}", asked.id),
                refusal: None,
                request_id: Some(&asked.id),
            },
        }
    }

    /// Seconds after which the same request may succeed (RFC 9110 section 10.2.3).
    fn retry_after(&self) -> Option<i64> {
        match self.refusal {
            Some(Refusal::Busy) => Some(1),
            Some(Refusal::Throttled(seconds)) => Some(*seconds),
            _ => None,
        }
    }

    /// RFC 9110 section 11.6.1, RFC 6750 section 3.
    fn challenge(&self, asked: &Asked) -> Option<String> {
        match self.refusal? {
            Refusal::BearerMissing => Some("Bearer".to_owned()),
            Refusal::BearerInvalid => Some(r#"Bearer error="invalid_token""#.to_owned()),
            Refusal::BearerScope(scope) => Some(format!(r#"Bearer error="insufficient_scope", scope="{scope}""#)),
            _ if self.code == "invalid_client" && asked.authorization => {
                Some(r#"Basic realm="avouch", charset="UTF-8""#.to_owned())
            }
            _ => None,
        }
    }
}

/// The status alone.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(code_and_status(refusal).1).unwrap_or(StatusCode::BAD_REQUEST)
}

/// Logs an error, once, and gives it its form.
pub(super) async fn render(host: &Host, asked: &Asked, failed: &Failed) -> Response {
    let error = PublicError::of(&failed.error, asked);
    match &*failed.error {
        Error::Refused(refusal) => {
            tracing::info!(refusal = variant(refusal), code = error.code, status = error.status.as_u16(), "refused");
        }
        Error::Fault(fault) => tracing::error!(error = fault as &dyn std::error::Error, "a request failed"),
    }
    if let Some(back) = &failed.back {
        return redirect(back, &error);
    }
    let mut response = match asked.form {
        Form::OAuth => oauth(&error),
        Form::Problem => problem(&error),
        Form::Page => page(site(host, asked).await, &error),
    };
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(challenge) = error.challenge(asked).and_then(|c| HeaderValue::try_from(c).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The variant's name: values in a refusal may be the caller's own words.
fn variant(refusal: &Refusal) -> String {
    let debug = format!("{refusal:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// JSON of the OAuth endpoints (RFC 6749 section 5.2, contract "Token exchange").
#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'static str,
    error_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

fn oauth(error: &PublicError<'_>) -> Response {
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
        Some(Refusal::ConsentRequired { consent_uri, expires_in, interval }) => {
            body.consent_uri = Some(consent_uri);
            body.expires_in = Some(*expires_in);
            body.interval = Some(*interval);
        }
        Some(Refusal::SlowDown { interval }) => body.interval = Some(*interval),
        Some(Refusal::StepUp { max_age }) => body.max_age = Some(*max_age),
        _ => {}
    }
    reply::private_json(error.status, &body)
}

fn redirect(back: &Back, error: &PublicError<'_>) -> Response {
    let description = ascii(&error.description);
    let params = [("error", error.code), ("error_description", &description)];
    reply::see_other(&authorize::answer(&back.app, &back.redirect_uri, back.state.as_deref(), &params))
}

/// Problem details (RFC 9457 section 3).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

fn problem(error: &PublicError<'_>) -> Response {
    let mut response = reply::json_as(
        error.status,
        "application/problem+json",
        &Problem {
            r#type: "about:blank",
            title: error.status.canonical_reason().unwrap_or("Error"),
            status: error.status.as_u16(),
            code: error.code,
            detail: &error.description,
            request_id: error.request_id,
        },
    );
    reply::no_store(&mut response);
    response
}

fn page(site: Site, error: &PublicError<'_>) -> Response {
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
            let description = &error.description;
            format!("The agent that sent you here made a mistake, so you were not sent back to it: {description}.")
        }
        Some(_) => error.description.clone(),
        None => "It is our fault, not yours. Please try again in a moment.".to_owned(),
    };
    let page = ErrorPage { site, title: title.into(), message, request_id: error.request_id.map(str::to_owned) };
    reply::page(error.status, &page.html())
}

/// The looks of the issuer, else of the one at the root, else none: this page may well be about a database that does not answer.
async fn site(host: &Host, asked: &Asked) -> Site {
    for id in asked.issuer.as_ref().map(IssuerId::as_str).into_iter().chain([DEFAULT_ISSUER]) {
        if let Ok(Some(app)) = issuers::app(host, id).await {
            return reply::site(&app);
        }
    }
    Site { product: "Avouch".into(), base: String::new(), logo: None, colour: None }
}

/// `error_description` may hold printable ASCII without quotes and backslashes only (RFC 6749 section 5.2).
fn ascii(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) && c != '"' && c != '\\' { c } else { '?' }).collect()
}
