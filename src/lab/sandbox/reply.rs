//! What the sandbox answers: JSON built by hand, and the one map from a refusal to its code and status.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// Every way to say no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// Malformed, incomplete, or something a strict service refuses and that has no code of its own.
    InvalidRequest,
    /// As [`Code::InvalidRequest`], for a body that is too long.
    TooLarge,
    /// Nobody we trust.
    InvalidIssuer,
    /// No key of the issuer made this signature.
    InvalidSignature,
    /// Too old.
    Expired,
    /// Its `jti` was used.
    ReplayDetected,
    /// Meant for another service.
    InvalidAudience,
    /// The client does not lead back to the keys that signed.
    InvalidClientId,
    /// Neither a verified e-mail nor a verified phone.
    MissingVerifiedEmail,
    /// Neither `access_token` nor `api_key`.
    UnsupportedCredentialType,
    /// The sign-in behind the assertion is not believable (RFC 9470).
    InsufficientUserAuthentication,
    /// Full, or the issuer's keys cannot be had just now: try again later.
    TemporarilyUnavailable,
}

impl Code {
    /// Its name on the wire and its status (auth.md v0.1, "Supported error codes"; the last one is ours).
    pub(super) fn wire(self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidRequest => ("invalid_request", StatusCode::BAD_REQUEST),
            Self::TooLarge => ("invalid_request", StatusCode::PAYLOAD_TOO_LARGE),
            Self::InvalidIssuer => ("invalid_issuer", StatusCode::BAD_REQUEST),
            Self::InvalidSignature => ("invalid_signature", StatusCode::BAD_REQUEST),
            Self::Expired => ("expired", StatusCode::BAD_REQUEST),
            Self::ReplayDetected => ("replay_detected", StatusCode::BAD_REQUEST),
            Self::InvalidAudience => ("invalid_audience", StatusCode::BAD_REQUEST),
            Self::InvalidClientId => ("invalid_client_id", StatusCode::BAD_REQUEST),
            Self::MissingVerifiedEmail => ("missing_verified_email", StatusCode::BAD_REQUEST),
            Self::UnsupportedCredentialType => ("unsupported_credential_type", StatusCode::BAD_REQUEST),
            Self::InsufficientUserAuthentication => ("insufficient_user_authentication", StatusCode::BAD_REQUEST),
            Self::TemporarilyUnavailable => ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// A refusal with the sentence that says why. It never quotes a token.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// `Err` with a refusal, for the end of a check.
    pub(super) fn because<T>(code: Code, message: impl Into<Cow<'static, str>>) -> Result<T, Self> {
        Err(Self::new(code, message))
    }

    pub(super) fn response(&self) -> Response {
        let (code, status) = self.code.wire();
        let mut response = error(status, code, &self.message);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("30"));
        }
        response
    }
}

/// An error of auth.md v0.1: `error` and `message`, not OAuth's `error_description`.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &json!({"error": code, "message": message}))
}

/// JSON that nobody may keep: every answer is about a credential or a person.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    text(status, "application/json", "no-store", body.to_string())
}

/// A document that may be kept for some minutes.
pub(super) fn document(content_type: &'static str, body: String) -> Response {
    text(StatusCode::OK, content_type, "max-age=300", body)
}

fn text(status: StatusCode, content_type: &'static str, cache: &'static str, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), content_type),
        (CACHE_CONTROL.as_str(), cache),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'"),
    ];
    (status, headers, body).into_response()
}
