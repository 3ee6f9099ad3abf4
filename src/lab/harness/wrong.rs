//! What the control API says when it does not do what it was asked.

use std::fmt::Display;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::jose::JoseError;
use crate::lab::mint::MintError;

/// An error, with the sentence that says what to mend.
#[derive(Debug)]
pub struct Wrong {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The caller's mistake.
    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// Ours.
    pub(super) fn fault(error: &dyn Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string())
    }

    pub(super) fn response(&self) -> Response {
        json_response(self.status, &json!({"error": self.code, "message": self.message}))
    }
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json"), ("cache-control", "no-store")], body.to_string()).into_response()
}

impl Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(Refusal::NotFound) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such issuer or key")
            }
            Error::Refused(refusal @ (Refusal::KeyState(_) | Refusal::IssuerExists)) => {
                Self::new(StatusCode::CONFLICT, "conflict", refusal.to_string())
            }
            Error::Refused(refusal) => Self::request(refusal.to_string()),
            Error::Fault(fault) => Self::fault(&fault),
        }
    }
}

impl From<JoseError> for Wrong {
    fn from(error: JoseError) -> Self {
        Self::fault(&error)
    }
}

impl From<MintError> for Wrong {
    fn from(error: MintError) -> Self {
        Self::request(error.to_string())
    }
}
