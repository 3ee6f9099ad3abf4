//! The one map from refusals to codes and statuses, and its renderers: JSON at the OAuth endpoints, a redirect from the authorization
//! endpoint, problem details at the API, a page for people. Logged once, here.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::reply;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::host::{App, Process};

/// Code and status of each refusal. Codes are those of RFC 6749 section 5.2 and 4.1.2.1, RFC 6750 section 3.1, RFC 8693 section 2.2.2,
/// OpenID Connect Core section 3.1.2.6, RFC 8628 section 3.5 (`slow_down`) and ID-JAG draft -04 section 9.2; `consent_required` at the
/// token endpoint is ours (contract, "Token exchange").
#[must_use]
pub fn code_and_status(refusal: &Refusal) -> (&'static str, u16) {
    use Refusal as R;
    match refusal {
        R::NotAForm
        | R::Missing(_)
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

/// An answer to the outside: the refusal, or for a fault nothing but an id to find it by.
struct Told {
    code: &'static str,
    status: StatusCode,
    description: String,
    refusal: Option<Refusal>,
    request_id: Option<String>,
}

/// Logs an error, once, and reduces it to what may be told.
fn told(host: &Process, error: Error) -> Told {
    match error {
        Error::Refused(refusal) => {
            let (code, status) = code_and_status(&refusal);
            tracing::info!(refusal = variant(&refusal), code, status, "refused");
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Told { code, status, description: refusal.to_string(), refusal: Some(refusal), request_id: None }
        }
        Error::Fault(fault) => {
            let id = host.id();
            tracing::error!(request_id = id, error = &fault as &dyn std::error::Error, "a request failed");
            let description = format!("something went wrong here; the operator finds it as {id}");
            Told {
                code: "server_error",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                description,
                refusal: None,
                request_id: Some(id),
            }
        }
    }
}

/// The variant's name: values in a refusal may be the caller's own words.
fn variant(refusal: &Refusal) -> String {
    let debug = format!("{refusal:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// JSON for the token endpoint (RFC 6749 section 5.2). `basic`: the client used the `Authorization` header.
pub(super) fn oauth(host: &Process, error: Error, basic: bool) -> Response {
    let told = told(host, error);
    let mut body = json!({"error": told.code, "error_description": ascii(&told.description)});
    let mut retry_after = None;
    match &told.refusal {
        Some(Refusal::ConsentRequired { consent_uri, expires_in, interval }) => {
            body["consent_uri"] = json!(consent_uri);
            body["expires_in"] = json!(expires_in);
            body["interval"] = json!(interval);
        }
        Some(Refusal::SlowDown { interval }) => body["interval"] = json!(interval),
        Some(Refusal::StepUp { max_age }) => body["max_age"] = json!(max_age),
        Some(Refusal::Busy) => retry_after = Some(1),
        Some(Refusal::Throttled(seconds)) => retry_after = Some(*seconds),
        _ => {}
    }
    let mut response = reply::json(told.status, &body);
    reply::no_store(&mut response);
    if told.status == StatusCode::UNAUTHORIZED && basic {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="avouch", charset="UTF-8""#));
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(1)));
    }
    response
}

/// The redirect that carries an error to a redirect URI that is trusted (RFC 6749 section 4.1.2.1).
pub(super) fn redirect(app: &App, error: Error, redirect_uri: &str, state: Option<&str>) -> Response {
    let told = told(app, error);
    let description = ascii(&told.description);
    let params = [("error", told.code), ("error_description", &description)];
    reply::see_other(&crate::flow::authorize::answer(app, redirect_uri, state, &params))
}

/// Problem details for the API (RFC 9457), with the bearer challenge of RFC 6750 section 3 where it belongs.
pub(super) fn problem(host: &Process, error: Error) -> Response {
    let told = told(host, error);
    let title = told.status.canonical_reason().unwrap_or("Error");
    let mut body = json!({"type": "about:blank", "title": title, "status": told.status.as_u16(), "code": told.code, "detail": told.description});
    if let Some(id) = &told.request_id {
        body["request_id"] = Value::from(id.as_str());
    }
    let mut response = reply::json_as(told.status, "application/problem+json", &body.to_string());
    reply::no_store(&mut response);
    let challenge = match &told.refusal {
        Some(Refusal::BearerMissing) => Some("Bearer".to_owned()),
        Some(Refusal::BearerInvalid) => Some(r#"Bearer error="invalid_token""#.to_owned()),
        Some(Refusal::BearerScope(scope)) => Some(format!(r#"Bearer error="insufficient_scope", scope="{scope}""#)),
        _ => None,
    };
    if let Some(challenge) = challenge.and_then(|c| HeaderValue::try_from(c).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if matches!(told.refusal, Some(Refusal::Busy)) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A page for people.
pub(super) fn page(app: &App, error: Error) -> Response {
    let told = told(app, error);
    let title = match told.status.as_u16() {
        404 => "There is nothing here",
        403 => "That did not come from our page",
        409 => "This question is closed",
        400 => "This request cannot be answered",
        503 => "We are busy",
        _ => "Something went wrong",
    };
    let message = match &told.refusal {
        Some(Refusal::NotFound) => "The address may be mistyped, or what was here is over.".to_owned(),
        Some(
            Refusal::AuthorizeClientUnknown | Refusal::RedirectUriUnknown | Refusal::Missing(_) | Refusal::Twice(_),
        ) => {
            format!(
                "The agent that sent you here made a mistake, so you were not sent back to it: {}.",
                told.description
            )
        }
        Some(_) => told.description.clone(),
        None => "It is our fault, not yours. Please try again in a moment.".to_owned(),
    };
    let page =
        super::pages::ErrorPage { site: reply::site(app), title: title.into(), message, request_id: told.request_id };
    reply::page(told.status, &page.html())
}

/// `error_description` may hold printable ASCII without quotes and backslashes only (RFC 6749 section 5.2).
fn ascii(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) && c != '"' && c != '\\' { c } else { '?' }).collect()
}
