//! The one map from refusals to codes and statuses, and the forms an error takes: JSON at the OAuth endpoints, a redirect from the
//! authorization endpoint, problem details at the API, a page for people. Logged once, here.

mod forms;

pub(super) use forms::Problem;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::pages::Site;
use super::place::Family;
use super::reply;
use crate::domain::issuer::IssuerId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::issuers;
use crate::host::{App, DEFAULT_ISSUER, Host};
use crate::meters;

/// Code and status of each refusal. Codes are those of RFC 6749 section 5.2 and 4.1.2.1, RFC 6750 section 3.1, RFC 8693 section 2.2.2,
/// OpenID Connect Core section 3.1.2.6, RFC 8628 section 3.5 (`slow_down`), and the example of ID-JAG draft section 9.2
/// (`insufficient_user_authentication`, registered by RFC 9470); `consent_required` at the token endpoint is ours (contract, "Token
/// exchange").
#[must_use]
pub fn code_and_status(refusal: &Refusal) -> (&'static str, u16) {
    use Refusal as R;
    match refusal {
        R::NotAForm | R::NotJson => ("invalid_request", 415),
        R::BodyTooLarge => ("invalid_request", 413),
        R::BodyIncomplete => ("invalid_request", 408),
        R::HostUnclear
        | R::Missing(_)
        | R::Twice(_)
        | R::Malformed(..)
        | R::TextMalformed(..)
        | R::NotSupported(_)
        | R::ClientAuthenticationTwice
        | R::AuthorizeClientUnknown
        | R::RedirectUriUnknown
        | R::BadQuery(_)
        | R::JsonMalformed(_)
        | R::TicketMismatch
        | R::AssertionTooLong => ("invalid_request", 400),
        R::GrantTypeUnsupported => ("unsupported_grant_type", 400),
        R::GrantTypeNotAllowed => ("unauthorized_client", 400),
        R::ClientUnauthenticated | R::ClientAuthenticationFailed | R::ClientAssertion(_) => ("invalid_client", 401),
        R::CodeInvalid
        | R::CodeRedirectMismatch
        | R::CodeVerifierWrong
        | R::RefreshInvalid
        | R::TokenOfAnotherClient
        | R::SubjectToken(_) => ("invalid_grant", 400),
        R::ScopeMalformed | R::ScopeNotGrantable(_) | R::ScopeNotOfSignIn(_) => ("invalid_scope", 400),
        R::ResponseTypeUnsupported => ("unsupported_response_type", 400),
        R::LoginRequired => ("login_required", 400),
        R::SignInConsentRequired | R::ConsentRequired(_) => ("consent_required", 400),
        R::SignInDenied | R::Denied | R::DeniedLately(_) | R::NoVerifiedContact => ("access_denied", 400),
        R::RequestNotSupported => ("request_not_supported", 400),
        R::RequestUriNotSupported => ("request_uri_not_supported", 400),
        R::AudienceTwice
        | R::AudienceMalformed(_)
        | R::AudienceNotAllowed
        | R::AudienceMisspelt(_)
        | R::AudienceOwn
        | R::AudienceIsResource(_)
        | R::TakesNoIdJags(_)
        | R::ResourceMalformed(_)
        | R::ResourceNotOfAudience => ("invalid_target", 400),
        R::SlowDown(_) | R::TooManyQuestions | R::TooManyServices => ("slow_down", 400),
        R::StepUp { .. } | R::SignInAhead => ("insufficient_user_authentication", 400),
        R::BearerMissing | R::BearerInvalid => ("invalid_token", 401),
        R::BearerScope(_) => ("insufficient_scope", 403),
        R::CredentialsWrong => ("access_denied", 422),
        R::Throttled(_) => ("slow_down", 429),
        R::CrossSite => ("cross_site", 403),
        R::SignInFormStale => ("form_stale", 403),
        R::RootOnly | R::AdminOnly => ("forbidden", 403),
        R::IssuerExists => ("issuer_exists", 409),
        R::Exists(_) => ("exists", 409),
        R::MemberWrong(_) => ("invalid_member", 422),
        R::Declared => ("declared", 409),
        R::NotAdded => ("not_added", 409),
        R::IssuerDeclared => ("issuer_declared", 409),
        R::NotDeclared => ("not_declared", 409),
        R::IssuerDefault => ("issuer_default", 409),
        R::KeyNotYet { .. } => ("key_not_yet", 409),
        R::ServiceState(_) => ("service_state", 409),
        R::KeyState(_) => ("key_state", 409),
        R::DeliveryState(_) => ("delivery_state", 409),
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
}

enum Form {
    /// RFC 6749 section 5.2.
    OAuth,
    /// RFC 9457.
    Problem,
    Page,
}

impl Asked {
    /// Whether a person looks at the answer.
    pub(super) fn is_page(&self) -> bool {
        matches!(self.form, Form::Page)
    }

    /// Looks at a request whose path is inside its issuer.
    pub(super) fn of(request: &Request, id: String) -> Self {
        let form = match Family::of(request.uri().path()) {
            Family::Protocol => Form::OAuth,
            Family::Pages if takes_html(request.headers()) => Form::Page,
            Family::Pages | Family::Api => Form::Problem,
        };
        let issuer = request.extensions().get::<IssuerId>().cloned();
        Self { id, form, issuer }
    }
}

/// A page, unless JSON is asked for and HTML is not.
fn takes_html(headers: &HeaderMap) -> bool {
    let named = |kind| headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).any(|v| v.contains(kind));
    named("text/html") || !named("json")
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
        let refusal = match error {
            Error::Refused(refusal) => Some(refusal),
            // Nothing is wrong with the request, and not much with us.
            Error::Fault(fault) => fault.is_outage().then_some(&Refusal::Busy),
        };
        match refusal {
            Some(refusal) => Self {
                code: code_and_status(refusal).0,
                status: status(refusal),
                description: refusal.to_string(),
                refusal: Some(refusal),
                request_id: None,
            },
            None => Self {
                code: "server_error",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                description: format!("something went wrong here; the operator finds it as {}", asked.id),
                refusal: None,
                request_id: Some(&asked.id),
            },
        }
    }

    /// RFC 9110 section 11.6.1, RFC 6750 section 3.
    fn challenge(&self) -> Option<String> {
        match self.refusal? {
            Refusal::BearerMissing => Some("Bearer".to_owned()),
            Refusal::BearerInvalid => Some(r#"Bearer error="invalid_token""#.to_owned()),
            Refusal::BearerScope(scope) => Some(format!(r#"Bearer error="insufficient_scope", scope="{scope}""#)),
            // Every 401 has one (RFC 9110 section 15.5.2), whatever way the client tried (RFC 6749 section 5.2).
            _ if self.code == "invalid_client" => Some(r#"Basic realm="avouch", charset="UTF-8""#.to_owned()),
            _ => None,
        }
    }
}

/// The status alone.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(code_and_status(refusal).1).unwrap_or(StatusCode::BAD_REQUEST)
}

/// How long until the same request may succeed (RFC 9110 section 10.2.3).
pub(super) fn retry_after(refusal: &Refusal) -> Option<Seconds> {
    match refusal {
        Refusal::Busy => Some(Seconds(1)),
        Refusal::Throttled(seconds) => Some(*seconds),
        _ => None,
    }
}

/// Logs an error, once, and gives it its form.
pub(super) async fn render(host: &Host, asked: &Asked, failed: &Failed) -> Response {
    let error = PublicError::of(&failed.error, asked);
    match &*failed.error {
        Error::Refused(refusal) => {
            let (name, code, status) = (variant(refusal), error.code, error.status.as_u16());
            meters::refused(&name);
            // An agent that asks whether its user has answered does so for minutes, and is told no each time.
            if matches!(refusal, Refusal::ConsentRequired { .. } | Refusal::SlowDown { .. }) {
                tracing::debug!(refusal = name, code, status, "refused");
            } else {
                tracing::info!(refusal = name, code, status, "refused");
            }
        }
        Error::Fault(fault) if fault.is_outage() => {
            tracing::warn!(
                error = fault as &dyn std::error::Error,
                status = error.status.as_u16(),
                "a request has to wait"
            );
        }
        Error::Fault(fault) => tracing::error!(error = fault as &dyn std::error::Error, "a request failed"),
    }
    if let Some(back) = &failed.back {
        return forms::redirect(back, &error);
    }
    let response = match asked.form {
        Form::OAuth => forms::oauth(&error),
        Form::Problem => forms::problem(&error),
        Form::Page => forms::page(site(host, asked).await, &error),
    };
    with_headers(response, &error)
}

/// What every form says in its head.
fn with_headers(mut response: Response, error: &PublicError<'_>) -> Response {
    let headers = response.headers_mut();
    if let Some(seconds) = error.refusal.and_then(retry_after) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.0));
    }
    if let Some(challenge) = error.challenge().and_then(|c| HeaderValue::try_from(c).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The variant's name: values in a refusal may be the caller's own words.
fn variant(refusal: &Refusal) -> String {
    let debug = format!("{refusal:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (Refusal, Option<&'static str>, Option<&'static str>);

    #[test]
    fn whoever_may_come_back_or_prove_themselves_is_told_how() {
        let basic = Some(r#"Basic realm="avouch", charset="UTF-8""#);
        let cases: [Case; 8] = [
            (Refusal::Busy, Some("1"), None),
            (Refusal::Throttled(Seconds(30)), Some("30"), None),
            (Refusal::TooManyQuestions, None, None),
            (Refusal::ClientAuthenticationFailed, None, basic),
            (Refusal::ClientUnauthenticated, None, basic),
            (Refusal::BearerMissing, None, Some("Bearer")),
            (Refusal::BearerInvalid, None, Some(r#"Bearer error="invalid_token""#)),
            (Refusal::NotFound, None, None),
        ];
        for (refusal, retry_after, challenge) in cases {
            let asked = Asked { id: "id".into(), form: Form::Page, issuer: None };
            let error = Error::from(refusal.clone());
            let error = PublicError::of(&error, &asked);
            let site = Site { product: "Avouch".into(), base: String::new(), logo: None, colour: None };
            for response in [forms::oauth(&error), forms::problem(&error), forms::page(site, &error)] {
                let response = with_headers(response, &error);
                let said = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
                assert_eq!(said(header::RETRY_AFTER), retry_after, "{refusal:?}");
                assert_eq!(said(header::WWW_AUTHENTICATE), challenge, "{refusal:?}");
                assert_eq!(response.status(), status(&refusal), "{refusal:?}");
                assert_eq!(said(header::CACHE_CONTROL), Some("no-store"), "{refusal:?}");
            }
        }
    }
}
