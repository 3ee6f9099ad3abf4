//! Forms and queries: taken apart once, every value bounded, repetitions told apart from lists.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};

use crate::domain::refusal::Refusal;
use crate::error::Error;

/// Most bytes of a form: a token of 16 KiB and the rest fit, and so does an authorization request on its way to the sign-in page and back
/// ([`MAX_REQUEST`](crate::domain::authorize::MAX_REQUEST)), encoded once more.
const MAX: usize = 64 * 1024;
/// Most bytes of a larger one that are read at all.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
/// Time to send it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Pairs in the order they came. Values that are empty are absent (RFC 6749 section 3.1 and 3.2).
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Takes an encoded text apart.
    pub(super) fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Reads the body of a form post.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::NotAForm);
        }
        let bytes = whole(headers, body, MAX).await?;
        let pairs = Self::parse(&bytes);
        pairs.0.iter().try_for_each(|(_, value)| no_nul(value))?;
        Ok(pairs)
    }

    /// The value of a parameter that may come once.
    pub(super) fn single(&self, name: &str) -> Result<Option<String>, Refusal> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v);
        match (values.next(), values.next()) {
            (value, None) => value.map(|v| no_nul(v).map(|()| v.clone())).transpose(),
            _ => Err(Refusal::Twice(name.to_owned())),
        }
    }

    /// Refuses a request in which any name but `several` comes twice, known or not (RFC 6749 section 3.1 and 3.2).
    pub(super) fn once(&self, several: &[&str]) -> Result<(), Refusal> {
        let mut seen = HashSet::new();
        let twice = self.0.iter().map(|(n, _)| n).find(|n| !several.contains(&n.as_str()) && !seen.insert(*n));
        twice.map_or(Ok(()), |name| Err(Refusal::Twice(name.clone())))
    }

    /// The value of a parameter that must come, once.
    pub(super) fn required(&self, name: &'static str) -> Result<String, Refusal> {
        self.single(name)?.ok_or(Refusal::Missing(name))
    }

    /// All values of a parameter that may come several times.
    pub(super) fn many(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }

    /// The first name that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(n, _)| n.as_str()).find(|n| !known.contains(n))
    }

    /// The pairs again as a query, each value passed through `change`; `None` leaves it out.
    pub(super) fn rebuild(&self, change: impl Fn(&str, &str) -> Option<String>) -> String {
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.0 {
            if let Some(value) = change(name, value) {
                out.append_pair(name, &value);
            }
        }
        out.finish()
    }
}

impl<S: Sync> FromRequest<S> for Pairs {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        Ok(Self::read(&parts.headers, body).await?)
    }
}

/// The bytes of a body, if they are at most `max` and come in time.
pub(super) async fn whole(headers: &HeaderMap, body: Body, max: usize) -> Result<Vec<u8>, Refusal> {
    tokio::time::timeout(TIMEOUT, bounded(headers, body, max)).await.map_err(|_| Refusal::BodyIncomplete)?
}

async fn bounded(headers: &HeaderMap, mut body: Body, max: usize) -> Result<Vec<u8>, Refusal> {
    // Whoever asks first is told before anything is sent (RFC 9110 section 10.1.1).
    if headers.contains_key(header::EXPECT) && body.size_hint().lower() > max as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Refusal::BodyIncomplete)?.into_data() else { continue };
        length += data.len();
        if length <= max {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            // Up to here it was read and thrown away: a connection closed on bytes that nobody read loses the answer as well.
            break;
        }
    }
    if length > max { Err(Refusal::BodyTooLarge) } else { Ok(bytes) }
}

/// No parameter of ours may hold a NUL, and PostgreSQL can store none.
fn no_nul(value: &str) -> Result<(), Refusal> {
    if value.contains('\0') { Err(Refusal::BadQuery("a value holds a NUL character".into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let pairs = Pairs::parse(b"a=1&b=&c=x%20y&d=1&d=2&b=");
        assert_eq!(pairs.single("a"), Ok(Some("1".into())));
        assert_eq!(pairs.single("b"), Ok(None), "empty is absent");
        assert_eq!(pairs.single("c"), Ok(Some("x y".into())));
        assert_eq!(pairs.single("d"), Err(Refusal::Twice("d".into())));
        assert_eq!(pairs.many("d"), ["1", "2"]);
        assert_eq!(pairs.once(&[]), Err(Refusal::Twice("d".into())));
        assert_eq!(pairs.once(&["d"]), Ok(()), "empty ones do not count");
        assert_eq!(pairs.required("e"), Err(Refusal::Missing("e")));
        assert_eq!(pairs.unknown(&["a", "c"]), Some("d"));
        assert!(Pairs::parse(b"a=x%00y").single("a").is_err());
    }
}
