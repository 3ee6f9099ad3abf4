//! What goes out and what comes back.

use std::time::{Duration, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::NetError;
use crate::domain::time::{Seconds, Timestamp};

/// An HTTP method that is used outwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetch.
    Get,
    /// Deliver.
    Post,
}

/// One request. It has no `Debug`: headers and body carry credentials.
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; https, or http where the [`super::Policy`] allows it.
    pub url: Url,
    /// Headers in the order given; a name may stand several times.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// Time for the whole exchange: name, connection, TLS, head and the last byte of the body.
    pub timeout: Duration,
    /// Most bytes of body that are accepted.
    pub max_body: usize,
}

/// A complete answer, whatever its status: a redirect is an answer like any other.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
}

/// The headers of a [`Response`].
#[derive(Clone)]
pub struct Headers(pub(super) HeaderMap);

impl Request {
    pub(super) fn into_http(self) -> Result<hyper::Request<Full<Bytes>>, NetError> {
        let mut request = hyper::Request::new(Full::from(self.body));
        *request.method_mut() = match self.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        };
        *request.uri_mut() =
            self.url.as_str().parse().map_err(|e: hyper::http::uri::InvalidUri| NetError::Url(e.into()))?;
        for (name, value) in self.headers {
            let key = HeaderName::try_from(name).map_err(|_| NetError::Header(name))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| NetError::Header(name))?;
            value.set_sensitive(true);
            request.headers_mut().append(key, value);
        }
        Ok(request)
    }
}

impl Response {
    /// The first value of a header, or `None` when it is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

impl Response {
    /// The span of a `Retry-After`, from `now` on; negative where the time is over (RFC 9110 section 10.2.3).
    pub fn retry_after(&self, now: Timestamp) -> Option<Seconds> {
        let text = self.header("retry-after")?.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Seconds(text.parse().unwrap_or(i64::MAX)));
        }
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp(i64::try_from(date.as_secs()).ok()?) - now)
    }
}

impl Headers {
    /// The first value of a header, or `None` when it is absent or not visible ASCII.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    /// Every value of a header that may stand several times, as `Set-Cookie` does; values outside ASCII are left out.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

/// Shows neither headers nor body: they may hold tokens.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.body.len();
        f.debug_struct("Response").field("status", &self.status).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back() {
        let now = Timestamp(784_111_777);
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(i64::MAX)),
            // The three forms of a date (RFC 9110 section 5.6.7), a minute ahead, and one that is over.
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(-30)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(text));
            let response = Response { status: 503, headers: Headers(headers), body: Vec::new() };
            assert_eq!(response.retry_after(now), expected.map(Seconds), "{text}");
        }
    }
}
