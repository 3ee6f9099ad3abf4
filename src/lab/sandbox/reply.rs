//! What the sandbox answers: the one map from a refusal to what each dialect says.

use std::borrow::Cow;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::domain::time::Seconds;
use crate::lab::flaws::{Answer, Class, Dialect, Kind};

/// Nothing but our own files: no inline style or script, so that nothing of a token could ever become one.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; \
                   base-uri 'none'; frame-ancestors 'none'";

/// Why not, with the sentence that says so. It never quotes a token.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) class: Class,
    pub(super) message: Cow<'static, str>,
    /// In the place of what the class has.
    pub(super) code: Option<(u16, &'static str)>,
    /// Members beside the usual ones.
    pub(super) more: Map<String, Value>,
    /// When to come again, if that is known.
    pub(super) retry_after: Option<Seconds>,
}

impl Refusal {
    pub(super) fn new(class: Class, message: impl Into<Cow<'static, str>>) -> Self {
        Self { class, message: message.into(), code: None, more: Map::new(), retry_after: None }
    }

    /// One with a code of its own.
    pub(super) fn coded(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Some((status, code)), ..Self::new(Class::Malformed, message) }
    }

    /// `Err` with a refusal, for the end of a check.
    pub(super) fn because<T>(class: Class, message: impl Into<Cow<'static, str>>) -> Result<T, Self> {
        Err(Self::new(class, message))
    }

    /// Status and code, where a kind of thing was sent in a dialect.
    pub(super) fn wire(&self, kind: Kind, dialect: Dialect) -> (u16, &'static str) {
        if let Some(own) = self.code {
            return own;
        }
        match self.class.answer(kind, dialect) {
            Answer::Refuse { status, codes } => (status, codes[0]),
            // The dialect has no rule, and this service has one.
            Answer::Accept { .. } | Answer::Open => (
                400,
                if dialect == Dialect::Plain && kind != Kind::Notice { "invalid_grant" } else { "invalid_request" },
            ),
        }
    }
}

/// How an endpoint says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// auth.md: `error` and `message`; with a challenge where it says 401.
    AuthMd,
    /// RFC 6749 section 5.2: `error` and `error_description`.
    OAuth,
    /// RFC 8935 section 2.4: `err` and `description`.
    Set,
}

/// A refusal on its way out.
pub(super) fn refused(form: Form, (status, code): (u16, &'static str), refusal: Refusal) -> Response {
    let mut body = refusal.more;
    let message = json!(refusal.message);
    let (error, description) = match form {
        // These two came later, and are worded as in OAuth.
        Form::AuthMd if ["interaction_required", "login_required"].contains(&code) => ("error", "error_description"),
        Form::AuthMd => ("error", "message"),
        Form::OAuth => ("error", "error_description"),
        Form::Set => ("err", "description"),
    };
    body.insert(error.to_owned(), json!(code));
    body.insert(description.to_owned(), message);
    let max_age = body.get("max_age").and_then(Value::as_i64);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = json(status, &Value::Object(body));
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = refusal.retry_after.map_or(30, |wait| wait.0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        let scheme = match (form, code) {
            (Form::AuthMd, _) => "AgentAuth",
            (_, "invalid_token") => "Bearer",
            _ => "Basic realm=\"sandbox\",",
        };
        let max_age = max_age.map(|age| format!(", max_age=\"{age}\"")).unwrap_or_default();
        let challenge = format!(
            "{scheme} error=\"{code}\"{max_age}, error_description=\"{}\"",
            refusal.message.replace(['"', '\\'], "'")
        );
        if let Ok(value) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// No to a form that another site sent.
pub(super) fn from_elsewhere(headers: &HeaderMap) -> Option<Response> {
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    elsewhere.then(|| error(StatusCode::FORBIDDEN, "forbidden", "the form was sent from another site"))
}

/// An error of the API.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &json!({"error": code, "message": message}))
}

/// Not now.
pub(super) fn busy(message: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
    response
}

/// JSON that nobody may keep: every answer is about a credential or a person.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    text(status, "application/json", "no-store", body.to_string())
}

/// Nothing, with a status that says enough.
pub(super) fn empty(status: StatusCode) -> Response {
    (status, [(CACHE_CONTROL, "no-store")]).into_response()
}

/// A document that may be kept for some minutes.
pub(super) fn document(content_type: &'static str, body: String) -> Response {
    text(StatusCode::OK, content_type, "max-age=300", body)
}

/// A page that shows what is now.
pub(super) fn page(body: String) -> Response {
    text(StatusCode::OK, "text/html; charset=utf-8", "no-store", body)
}

fn text(status: StatusCode, content_type: &'static str, cache: &'static str, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), content_type),
        (CACHE_CONTROL.as_str(), cache),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", CSP),
        ("referrer-policy", "no-referrer"),
    ];
    (status, headers, body).into_response()
}
