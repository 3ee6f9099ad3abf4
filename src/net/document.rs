//! A document of other people, what it may cost, and why there may be none.

use std::sync::Arc;
use std::time::Duration;

use super::NetError;
use crate::domain::time::{Seconds, Timestamp};

/// What one kind of document may take, in size and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Most bytes.
    pub max_bytes: usize,
    /// Seconds it is kept at least, whatever its server says.
    pub floor: Seconds,
    /// Seconds it is kept at most.
    pub ceiling: Seconds,
    /// Time for the whole exchange.
    pub timeout: Duration,
}

impl Limits {
    /// Client ID Metadata Documents; the size is the one that -02 section 8.7 recommends.
    pub const CIMD: Self = Self { max_bytes: 5 * 1024, floor: Seconds(60), ceiling: DAY, timeout: FETCH_TIMEOUT };
    /// JSON Web Key Sets (RFC 7517 section 5).
    pub const JWKS: Self = Self { max_bytes: 64 * 1024, floor: Seconds(600), ceiling: DAY, timeout: FETCH_TIMEOUT };
    /// Metadata of authorization servers (RFC 8414) and protected resources (RFC 9728).
    pub const METADATA: Self = Self { max_bytes: 64 * 1024, floor: Seconds(300), ceiling: DAY, timeout: FETCH_TIMEOUT };
}

const DAY: Seconds = Seconds(24 * 60 * 60);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A fetched document.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// The document; always a JSON object.
    pub body: Arc<serde_json::Value>,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// From when on it is fetched again.
    pub fresh_until: Timestamp,
}

/// Why there is no document. As with [`NetError`], the text and its sources are for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DocumentError {
    /// No answer; shared by everybody who waited for the same fetch.
    #[error("the document could not be fetched")]
    Net(#[source] Arc<NetError>),
    /// An answer other than 200; redirects are not followed.
    #[error("the document's server answered {0}")]
    Status(u16),
    /// Not `application/json` or `application/…+json`.
    #[error("the document is served as {0:?}, not as application/json")]
    ContentType(String),
    /// Not JSON.
    #[error("the document is not JSON")]
    Malformed(#[source] Arc<serde_json::Error>),
    /// More values than any honest one has: parsed, each takes many times what it took to send.
    #[error("the document has too many values")]
    TooManyValues,
    /// JSON, but not an object, which every document here is.
    #[error("the document is not a JSON object")]
    NotAnObject,
}
