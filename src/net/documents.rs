//! JSON documents of other people (client metadata, key sets, service metadata): fetched, bounded, cached.
//!
//! The rules are those of the Client ID Metadata Document draft -02, sections 5, 5.2, 8.6 and 8.7, and serve the other kinds as well: only
//! 200 is success, no redirect is followed, nothing that failed is kept, the server's caching headers count within bounds of our own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use http_cache_semantics::{CacheOptions, CachePolicy};
use hyper::header;
use url::Url;

use super::cache::{BOUNDS, Bounds, Cache, Key, Outcome, Slot, key, lock};
use super::document::{Document, DocumentError, Limits};
use super::{Headers, Method, Net, Request};
use crate::domain::time::{Seconds, Timestamp};

/// Most values of a document, counted by what comes before each.
const MAX_VALUES: usize = 4096;

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

    /// The document at `url`: from the cache while it is fresh at `now`, else fetched. Callers
    /// who come while a fetch is under way get that fetch's outcome.
    pub async fn get(&self, url: &Url, limits: Limits, now: Timestamp) -> Result<Arc<Document>, DocumentError> {
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
    pub async fn refetch(&self, url: &Url, limits: Limits, now: Timestamp) -> Result<Arc<Document>, DocumentError> {
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
    /// draft -02, section 5.2), and only its reader can tell.
    pub fn forget(&self, url: &Url, limits: Limits) {
        let slot = lock(&self.0.cache).slots.get(&key(url, limits)).cloned();
        if let Some(slot) = slot {
            lock(&slot.state).forget();
        }
    }

    /// `seen` is how many fetches had ended when the caller decided that it needs one. The gate frees itself when a
    /// caller goes away in the middle; the next one then fetches in its place.
    async fn fetch(&self, key: &Key, slot: &Slot, seen: u64, now: Timestamp) -> Outcome {
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

    async fn download(&self, (limits, url): &Key, now: Timestamp) -> Result<(Arc<Document>, usize), DocumentError> {
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
        let kind = response.header("content-type").unwrap_or_default();
        if !is_json(kind) {
            return Err(DocumentError::ContentType(kind.chars().take(100).collect()));
        }
        if response.body.iter().filter(|byte| b"{[,".contains(byte)).count() > MAX_VALUES {
            return Err(DocumentError::TooManyValues);
        }
        let parsed = serde_json::from_slice(&response.body);
        let body: serde_json::Value = parsed.map_err(|e| DocumentError::Malformed(Arc::new(e)))?;
        if !body.is_object() {
            return Err(DocumentError::NotAnObject);
        }
        let fresh_until = now + lifetime(&response.headers, now, *limits);
        Ok((Arc::new(Document { body: Arc::new(body), fetched_at: now, fresh_until }), response.body.len()))
    }
}

/// `application/json` or `application/…+json` (RFC 6839 section 3.1), the registered type of key sets among them.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    subtype == "json" || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty())
}

/// Seconds a document stays fresh by the rules of HTTP (RFC 9111 sections 4.2 and 5), within our own bounds.
fn lifetime(headers: &Headers, now: Timestamp, limits: Limits) -> Seconds {
    let mut answer = hyper::Response::new(());
    // What it knows of directives it knows in small letters only.
    for value in headers.all("cache-control").filter_map(|value| value.to_ascii_lowercase().try_into().ok()) {
        answer.headers_mut().append(header::CACHE_CONTROL, value);
    }
    for name in [header::AGE, header::DATE, header::EXPIRES, header::LAST_MODIFIED, header::PRAGMA, header::VARY] {
        if let Some(value) = headers.0.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    let since = u64::try_from(now.0).unwrap_or_default();
    let received = UNIX_EPOCH.checked_add(Duration::from_secs(since)).unwrap_or(UNIX_EPOCH);
    let options = CacheOptions { shared: false, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(&hyper::Request::new(()), &answer, received, options);
    let fresh = i64::try_from(policy.time_to_live(received).as_secs()).unwrap_or(i64::MAX);
    Seconds(fresh).max(limits.floor).min(limits.ceiling)
}

#[cfg(test)]
mod tests;
