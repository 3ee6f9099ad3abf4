//! Bodies: bounded, of the media type that is expected, and read in one way only.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;

use super::claims::malformed;
use super::reply::Refusal;
use crate::lab::flaws::{Broken, Rule};

/// Most bytes of a request's body, and the time it may take to come.
const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const JSON: &str = "application/json";
pub(super) const LOGOUT: &str = "application/logout+jwt";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a request of a media type; parameters such as `charset=utf-8` say nothing.
pub(super) async fn body(request: Request, kind: &str, broken: Broken) -> Result<Vec<u8>, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // auth.md v0.1's reference service takes its own type without any.
    let given = if kind == LOGOUT { content_type } else { content_type.split(';').next().unwrap_or_default().trim() };
    if !given.eq_ignore_ascii_case(kind) && !broken.lacks(Rule::AcceptAnyContentType) {
        return Err(malformed(format!("the body is not {kind}")));
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await;
    match whole {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => Err(Refusal::coded(413, "invalid_request", "the body is longer than 64 KiB, or broke off")),
        Err(_) => Err(malformed("the body did not come in time")),
    }
}

/// The fields of a form, none of them twice and none empty (RFC 6749 section 3.2).
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            // Several resources are several values (RFC 8707 section 2).
            if fields.insert(name.to_string(), value.to_string()).is_some() && name != "resource" {
                return Err(malformed(format!("{name} is there twice")));
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
