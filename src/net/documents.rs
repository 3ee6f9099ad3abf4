//! JSON documents of other people (client metadata, key sets, service metadata): fetched, bounded, cached.
//!
//! The rules are those of the Client ID Metadata Document draft, "Fetching", and serve the other kinds as well: only 200
//! is success, nothing that failed is kept, the server's caching headers count within bounds of our own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::cache::{BOUNDS, Bounds, Cache, Key, Outcome, Slot, key, lock};
use super::{Headers, Method, Net, NetError, Request};

/// What one kind of document may take, in size and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Most bytes.
    pub max_bytes: usize,
    /// Seconds it is kept at least, whatever its server says.
    pub floor: i64,
    /// Seconds it is kept at most.
    pub ceiling: i64,
    /// Time for the whole exchange.
    pub timeout: Duration,
}

impl Limits {
    /// Client ID Metadata Documents; the size is the one that the draft recommends.
    pub const CIMD: Self = Self { max_bytes: 5 * 1024, floor: 60, ceiling: DAY, timeout: FETCH_TIMEOUT };
    /// JSON Web Key Sets (RFC 7517 section 5).
    pub const JWKS: Self = Self { max_bytes: 64 * 1024, floor: 600, ceiling: DAY, timeout: FETCH_TIMEOUT };
    /// Metadata of authorization servers (RFC 8414) and protected resources (RFC 9728).
    pub const METADATA: Self = Self { max_bytes: 64 * 1024, floor: 300, ceiling: DAY, timeout: FETCH_TIMEOUT };
}

const DAY: i64 = 24 * 60 * 60;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A fetched document.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// The document; always a JSON object.
    pub body: serde_json::Value,
    /// When it was fetched, in seconds since the epoch.
    pub fetched_at: i64,
    /// From when on it is fetched again, in seconds since the epoch.
    pub fresh_until: i64,
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
    #[error("the document is not served as JSON")]
    ContentType,
    /// Not JSON.
    #[error("the document is not JSON")]
    Malformed(#[source] Arc<serde_json::Error>),
    /// JSON, but not an object, which every document here is.
    #[error("the document is not a JSON object")]
    NotAnObject,
}

/// Fetches and keeps documents; cheap to clone, all clones share the cache.
#[derive(Clone)]
pub struct Documents(Arc<Inner>);

struct Inner {
    net: Net,
    cache: Mutex<Cache>,
}

impl Documents {
    /// An empty cache in front of `net`.
    pub fn new(net: Net) -> Self {
        Self::with_bounds(net, BOUNDS)
    }

    fn with_bounds(net: Net, bounds: Bounds) -> Self {
        Self(Arc::new(Inner { net, cache: Mutex::new(Cache::new(bounds)) }))
    }

    /// The document at `url`: from the cache while it is fresh at `now` (seconds since the epoch), else fetched. Callers
    /// who come while a fetch is under way get that fetch's outcome.
    pub async fn get(&self, url: &Url, limits: Limits, now: i64) -> Result<Arc<Document>, DocumentError> {
        let key = key(url, limits);
        let slot = lock(&self.0.cache).slot(&key);
        let seen = {
            let state = lock(&slot.state);
            if let Some(document) = state.fresh(now) {
                return Ok(document);
            }
            state.fetches
        };
        self.fetch(&key, &slot, seen, now).await
    }

    /// Fetches the document anew though it may be fresh, as for a key that it does not hold; but at most once in 30 s
    /// for each URL, and otherwise as [`Documents::get`]. A failure leaves the copy that is there.
    pub async fn refetch(&self, url: &Url, limits: Limits, now: i64) -> Result<Arc<Document>, DocumentError> {
        let key = key(url, limits);
        let slot = lock(&self.0.cache).slot(&key);
        let (seen, force) = {
            let mut state = lock(&slot.state);
            (state.fetches, state.force(now))
        };
        if force {
            return self.fetch(&key, &slot, seen, now).await;
        }
        // Somebody else may be fetching it this moment, and that is as new as this caller can ask for.
        drop(slot.gate.lock().await);
        let outcome = lock(&slot.state).since(seen);
        match outcome {
            Some(outcome) => outcome,
            None => self.get(url, limits, now).await,
        }
    }

    /// Drops a document that turned out to be invalid: such a document must not be cached (Client ID Metadata Document
    /// draft, "Fetching"), and only its reader can tell.
    pub fn forget(&self, url: &Url, limits: Limits) {
        let slot = lock(&self.0.cache).slots.get(&key(url, limits)).cloned();
        if let Some(slot) = slot {
            lock(&slot.state).forget();
        }
    }

    /// `seen` is how many fetches had ended when the caller decided that it needs one. The gate frees itself when a
    /// caller goes away in the middle; the next one then fetches in its place.
    async fn fetch(&self, key: &Key, slot: &Slot, seen: u64, now: i64) -> Outcome {
        let gate = slot.gate.lock().await;
        let already = lock(&slot.state).since(seen);
        if let Some(outcome) = already {
            return outcome;
        }
        let fetched = self.download(key, now).await;
        let outcome = lock(&slot.state).settle(fetched);
        drop(gate);
        lock(&self.0.cache).make_room(key);
        outcome
    }

    async fn download(&self, (limits, url): &Key, now: i64) -> Result<(Arc<Document>, usize), DocumentError> {
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers: vec![("accept", "application/json".into())],
            body: Vec::new(),
            timeout: limits.timeout,
            max_body: limits.max_bytes,
        };
        let response = self.0.net.send(request).await.map_err(|e| DocumentError::Net(Arc::new(e)))?;
        if response.status != 200 {
            return Err(DocumentError::Status(response.status));
        }
        if !response.header("content-type").is_some_and(is_json) {
            return Err(DocumentError::ContentType);
        }
        let parsed = serde_json::from_slice(&response.body);
        let body: serde_json::Value = parsed.map_err(|e| DocumentError::Malformed(Arc::new(e)))?;
        if !body.is_object() {
            return Err(DocumentError::NotAnObject);
        }
        let fresh_until = now.saturating_add(lifetime(&response.headers, *limits));
        Ok((Arc::new(Document { body, fetched_at: now, fresh_until }), response.body.len()))
    }
}

/// `application/json` or `application/…+json` (RFC 6839 section 3.1), the registered type of key sets among them.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    subtype == "json" || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty())
}

/// Seconds a document stays fresh: `max-age` less `Age` (RFC 9111 sections 4.2 and 5.1), within our own bounds. Without
/// a usable `max-age`, or where its server wants it not kept, it is the floor.
fn lifetime(headers: &Headers, limits: Limits) -> i64 {
    let mut max_age = None;
    for directive in headers.all("cache-control").flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => max_age = Some(0),
            // The first one counts; a repeated or unreadable one only shortens.
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                max_age = Some(max_age.map_or(seconds, |known: i64| known.min(seconds)));
            }
            _ => {}
        }
    }
    let age = headers.get("age").and_then(|age| age.trim().parse().ok()).unwrap_or(0).max(0);
    max_age.unwrap_or(0).saturating_sub(age).max(limits.floor).min(limits.ceiling)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::testing::{Server, answer, open};
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const JSON: &str = "application/json";

    async fn json_server(body: &'static str) -> Server {
        Server::start(move |_| answer(200, JSON, body)).await
    }

    /// Answers with the number of the request, and these headers.
    async fn counting(headers: &'static str) -> (Server, Url) {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let body = format!(r#"{{"n":{}}}"#, count.fetch_add(1, Ordering::SeqCst) + 1);
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
                .into_bytes()
        })
        .await;
        let url = url(&server, "/doc");
        (server, url)
    }

    fn url(server: &Server, path: &str) -> Url {
        Url::parse(&server.url(path)).unwrap()
    }

    fn n(outcome: Outcome) -> i64 {
        outcome.unwrap().body["n"].as_i64().unwrap()
    }

    #[tokio::test]
    async fn only_a_small_json_object_with_status_200_is_a_document() {
        type Judge = fn(&DocumentError) -> bool;
        let table: [(&str, u16, &str, String, Judge); 9] = [
            ("not found", 404, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(404))),
            ("other success", 203, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(203))),
            ("redirect", 302, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(302))),
            ("page", 200, "text/html", "{}".into(), |e| matches!(e, DocumentError::ContentType)),
            ("cut", 200, JSON, r#"{"a":"#.into(), |e| matches!(e, DocumentError::Malformed(_))),
            ("two", 200, JSON, "{}{}".into(), |e| matches!(e, DocumentError::Malformed(_))),
            ("deep", 200, JSON, "[".repeat(5000), |e| matches!(e, DocumentError::Malformed(_))),
            ("list", 200, JSON, "[]".into(), |e| matches!(e, DocumentError::NotAnObject)),
            (
                "long",
                200,
                JSON,
                format!("{{}}{}", " ".repeat(5119)),
                |e| matches!(e, DocumentError::Net(e) if matches!(**e, NetError::TooLarge { limit: 5120 })),
            ),
        ];
        for (name, status, content_type, body, expected) in table {
            let server = Server::start(move |_| answer(status, content_type, &body)).await;
            let documents = Documents::new(open());
            for _ in 0..2 {
                let error = documents.get(&url(&server, "/"), Limits::CIMD, NOW).await.unwrap_err();
                assert!(expected(&error), "{name}: {error:?}");
            }
            assert_eq!(server.seen().len(), 2, "{name}: a failure is not kept");
        }
        let full = Box::leak(format!("{{}}{}", " ".repeat(5118)).into_boxed_str());
        let server = json_server(full).await;
        Documents::new(open()).get(&url(&server, "/"), Limits::CIMD, NOW).await.unwrap();
    }

    #[test]
    fn json_has_several_names() {
        for yes in [JSON, "Application/JSON; charset=utf-8", "application/jwk-set+json", "application/cimd+json ;v=1"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["", "text/json", "text/html", "application/+json", "application/jsonp", "application/x; a=+json"] {
            assert!(!is_json(no), "{no}");
        }
    }

    #[tokio::test]
    async fn freshness_is_the_servers_within_our_bounds() {
        let limits = Limits { floor: 60, ceiling: 1000, ..Limits::CIMD };
        let table = [
            ("", 60),
            ("cache-control: max-age=500\r\n", 500),
            ("Cache-Control: public, MAX-AGE=\"500\"\r\n", 500),
            ("cache-control: public\r\ncache-control: max-age=500\r\n", 500),
            ("cache-control: max-age=500\r\nage: 100\r\n", 400),
            ("cache-control: max-age=500\r\nage: -100\r\n", 500),
            ("cache-control: max-age=500\r\nage: 900\r\n", 60),
            ("cache-control: max-age=1\r\n", 60),
            ("cache-control: no-store\r\n", 60),
            ("cache-control: no-cache, max-age=500\r\n", 60),
            ("cache-control: max-age=400, max-age=500\r\n", 400),
            ("cache-control: max-age=99999\r\n", 1000),
            ("cache-control: max-age=x\r\n", 60),
            ("cache-control: s-maxage=500\r\n", 60),
        ];
        for (headers, expected) in table {
            let (_server, url) = counting(headers).await;
            let document = Documents::new(open()).get(&url, limits, NOW).await.unwrap();
            assert_eq!((document.fetched_at, document.fresh_until - NOW), (NOW, expected), "{headers}");
        }
    }

    #[tokio::test]
    async fn a_document_is_kept_until_it_is_stale() {
        let (server, mut url) = counting("cache-control: max-age=100\r\n").await;
        let documents = Documents::new(open());
        assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 1);
        assert_eq!(n(documents.clone().get(&url, Limits::CIMD, NOW + 99).await), 1);
        url.set_fragment(Some("part"));
        assert_eq!(n(documents.get(&url, Limits::CIMD, NOW + 99).await), 1);
        assert_eq!(n(documents.get(&url, Limits::CIMD, NOW + 100).await), 2);
        assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 3, "the clock was set back");
        assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 4, "another kind has other limits");
        documents.forget(&url, Limits::CIMD);
        assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 5);
        assert_eq!(server.seen().len(), 5);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_fetch_and_its_failure() {
        for (status, expected) in [(200, 1), (500, 2)] {
            let server = Server::start(move |_| answer(status, JSON, "{}")).await;
            let documents = Documents::new(open());
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let (documents, url) = (documents.clone(), url(&server, "/"));
                callers.spawn(async move { documents.get(&url, Limits::CIMD, NOW).await });
            }
            for outcome in callers.join_all().await {
                assert_eq!(outcome.is_ok(), status == 200);
            }
            assert_eq!(server.seen().len(), 1);
            let _ = documents.get(&url(&server, "/"), Limits::CIMD, NOW).await;
            assert_eq!(server.seen().len(), expected, "a failure is told only to those who waited");
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_fetch_to_the_next() {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Vec::new(),
            _ => answer(200, JSON, r#"{"n":2}"#),
        })
        .await;
        let documents = Documents::new(open());
        let spawn =
            |documents: Documents, url: Url| tokio::spawn(async move { documents.get(&url, Limits::CIMD, NOW).await });
        let first = spawn(documents.clone(), url(&server, "/"));
        while server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = spawn(documents.clone(), url(&server, "/"));
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(n(second.await.unwrap()), 2);
    }

    #[tokio::test]
    async fn a_forced_fetch_has_a_pause() {
        let (server, url) = counting("cache-control: max-age=5000\r\n").await;
        let documents = Documents::new(open());
        assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 1);
        assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + 1).await), 2, "the first force needs no pause");
        assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + 30).await), 2);
        assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + 31).await), 3);
        assert_eq!(n(documents.get(&url, Limits::JWKS, NOW + 32).await), 3);
        let both = tokio::join!(
            documents.refetch(&url, Limits::JWKS, NOW + 100),
            documents.refetch(&url, Limits::JWKS, NOW + 100)
        );
        assert_eq!((n(both.0), n(both.1)), (4, 4), "the second joins the first");
        assert_eq!(server.seen().len(), 4);
    }

    #[tokio::test]
    async fn a_forced_fetch_that_fails_says_so_and_leaves_the_copy() {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => answer(200, JSON, r#"{"n":1}"#),
            _ => answer(500, JSON, "{}"),
        })
        .await;
        let (documents, url) = (Documents::new(open()), url(&server, "/"));
        assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 1);
        let error = documents.refetch(&url, Limits::JWKS, NOW).await.unwrap_err();
        assert!(matches!(error, DocumentError::Status(500)), "{error:?}");
        assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + 1).await), 1);
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn the_cache_is_bounded_and_drops_what_was_used_longest_ago() {
        let server = Server::start(|request: &str| {
            let status = if request.starts_with("GET /missing") { 404 } else { 200 };
            answer(status, JSON, &format!("{{}}{}", " ".repeat(98)))
        })
        .await;
        for bounds in [Bounds { documents: 3, bytes: 10_000 }, Bounds { documents: 100, bytes: 300 }] {
            let documents = Documents::with_bounds(open(), bounds);
            let fetched = async |path: &str, limits: Limits| {
                let before = server.seen().len();
                let _ = documents.get(&url(&server, path), limits, NOW).await;
                server.seen().len() > before
            };
            for path in ["/a", "/b", "/c"] {
                assert!(fetched(path, Limits::CIMD).await, "{path} is new");
            }
            for i in 0..5 {
                assert!(fetched(&format!("/missing/{i}"), Limits::CIMD).await, "a failure is not kept");
                assert!(fetched(&format!("/other/{i}"), Limits::JWKS).await, "another kind");
            }
            for path in ["/b", "/c", "/a"] {
                assert!(!fetched(path, Limits::CIMD).await, "{path} was not pushed out");
            }
            assert!(fetched("/d", Limits::CIMD).await);
            assert!(!fetched("/c", Limits::CIMD).await && !fetched("/a", Limits::CIMD).await);
            assert!(fetched("/b", Limits::CIMD).await, "used longest ago");
            let places = lock(&documents.0.cache).slots.len();
            assert!(places <= 3 * bounds.documents, "{places} places: documents of two kinds and what is missing");
        }
    }

    #[tokio::test]
    async fn callers_that_go_away_fill_no_cache() {
        let server = Server::start(|_| Vec::new()).await;
        let documents = Documents::with_bounds(open(), Bounds { documents: 3, bytes: 1000 });
        for i in 0..10 {
            let url = url(&server, &format!("/{i}"));
            let _ = tokio::time::timeout(Duration::ZERO, documents.get(&url, Limits::CIMD, NOW)).await;
        }
        assert_eq!(lock(&documents.0.cache).slots.len(), 3);
    }
}
