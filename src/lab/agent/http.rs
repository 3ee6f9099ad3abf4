//! Requests and answers, as a program without a browser sends and reads them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::Url;

use super::Outcome;
use crate::net::{Headers, Method, Net, Request};

/// Time for one exchange.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const MAX_BODY: usize = 256 * 1024;

/// Sends requests and reads the answers to their end.
#[derive(Clone)]
pub struct Http {
    net: Net,
    /// What went over the wire, where somebody wants to see it.
    record: Option<Arc<Mutex<Vec<Exchange>>>>,
}

/// A request and its answer, as they went over the wire. It has no `Debug`: both carry credentials.
#[derive(Clone)]
pub struct Exchange {
    /// When the request was sent.
    pub began: Instant,
    /// GET or POST.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// The header fields that were sent.
    pub headers: Vec<(&'static str, String)>,
    /// The body that was sent.
    pub sent: String,
    /// The answer.
    pub answer: Answer,
}

/// An answer, read to its end.
#[derive(Clone)]
pub struct Answer {
    /// Where it came from.
    pub url: Url,
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: String,
}

impl Http {
    /// By way of `net`.
    pub fn new(net: Net) -> Self {
        Self { net, record: None }
    }

    /// The same, with a record of its own of what went over the wire.
    #[must_use]
    pub fn recording(&self) -> Self {
        Self { net: self.net.clone(), record: Some(Arc::default()) }
    }

    /// What went over the wire since the last time, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Exchange> {
        let record = self.record.as_ref().map(|record| record.lock().unwrap_or_else(PoisonError::into_inner));
        record.map(|mut record| std::mem::take(&mut *record)).unwrap_or_default()
    }

    /// Reads what is at `url`, with a bearer token if there is one (RFC 6750 section 2.1).
    ///
    /// # Errors
    /// Says which URL did not answer, and why.
    pub async fn get(&self, url: &str, bearer: Option<&str>) -> Outcome<Answer> {
        let headers = bearer.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
        self.send(Method::Get, parse(url)?, headers, String::new()).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post_json(&self, url: &str, body: &Value) -> Outcome<Answer> {
        let headers = vec![("content-type", "application/json".into())];
        self.send(Method::Post, parse(url)?, headers, body.to_string()).await
    }

    /// Posts a form.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Outcome<Answer> {
        self.send(Method::Post, parse(url)?, vec![form_type()], encode(form)).await
    }

    /// Posts a form as a client that shows its secret in the header (RFC 6749 section 2.3.1).
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post_as(&self, url: &str, (id, secret): (&str, &str), form: &[(&str, &str)]) -> Outcome<Answer> {
        let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let credential = STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret)));
        let headers = vec![form_type(), ("authorization", format!("Basic {credential}"))];
        self.send(Method::Post, parse(url)?, headers, encode(form)).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Outcome<Answer> {
        let began = Instant::now();
        let (sent, written) = (body, headers.clone());
        let body = sent.clone().into_bytes();
        let request = Request { method, url: url.clone(), headers, body, timeout: TIMEOUT, max_body: MAX_BODY };
        let response = self.net.send(request).await.map_err(|e| format!("{url}: {e}"))?;
        let body = String::from_utf8_lossy(&response.body).into_owned();
        let answer = Answer { url: url.clone(), status: response.status, headers: response.headers, body };
        if let Some(record) = &self.record {
            let exchange = Exchange { began, method, url, headers: written, sent, answer: answer.clone() };
            record.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
        }
        Ok(answer)
    }
}

pub(super) fn form_type() -> (&'static str, String) {
    ("content-type", "application/x-www-form-urlencoded".into())
}

pub(super) fn parse(url: &str) -> Outcome<Url> {
    Url::parse(url).map_err(|e| format!("{url:?} is not a URL: {e}"))
}

pub(super) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Outcome<Value> {
        serde_json::from_str(&self.body).map_err(|_| format!("{} should answer JSON: {self}", self.url))
    }

    /// This answer, if it has the status it should have.
    ///
    /// # Errors
    /// If it has another.
    pub fn expect(self, status: u16) -> Outcome<Self> {
        if self.status == status { Ok(self) } else { Err(format!("{} should answer {status}: {self}", self.url)) }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

/// A member of a JSON object that has to be a string.
pub(super) fn text(value: &Value, name: &str) -> Outcome<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is missing in {value}"))
}
