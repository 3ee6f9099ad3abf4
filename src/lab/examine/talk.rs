//! Requests to the service that is examined, at the pace that is polite, and what it says to them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use super::found::{Evidence, Received, Sent};
use crate::clock::Clock;
use crate::domain::time::Seconds;
use crate::lab::flaws::Draft;
use crate::net::{Headers, Method, Net, NetError, Request};

/// Time for one exchange: longer than services wait for documents of ours.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of an answer.
const MAX_BODY: usize = 256 * 1024;
/// Most characters of an answer that a report shows.
const SHOWN: usize = 1000;
/// The longest that a service may make us wait after 429.
const MAX_WAIT: Seconds = Seconds(60);
/// How often a request is sent that is answered with 429.
const TRIES: usize = 3;

/// Sends requests and keeps what came of them.
pub(in crate::lab) struct Talk {
    net: Net,
    /// Between two requests.
    gap: Duration,
    /// When the next one may go.
    next: Mutex<Instant>,
    /// Who we say that we are.
    agent: String,
    clock: Clock,
}

/// A request.
#[derive(Clone)]
pub(in crate::lab) struct Call {
    method: Method,
    url: Url,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// What a report must not show, and what it shows in its place.
    secrets: Vec<(String, &'static str)>,
}

/// What came of a request.
pub(in crate::lab) struct Said {
    /// For the report.
    pub(in crate::lab) evidence: Evidence,
    /// The answer, or why there is none.
    pub(in crate::lab) reply: Result<Reply, Silence>,
}

/// An answer.
pub(in crate::lab) struct Reply {
    /// Its status.
    pub(in crate::lab) status: u16,
    /// Its body; null where that is no JSON.
    pub(in crate::lab) json: Value,
    /// Its header fields.
    pub(in crate::lab) headers: Headers,
}

/// Why there is no answer that says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab) enum Silence {
    /// None came in time.
    TimedOut,
    /// The connection failed, or the service asks to come later.
    Failed(String),
}

impl Talk {
    /// Through `net`, with so much time between two requests.
    #[must_use]
    pub(in crate::lab) fn new(net: Net, gap: Duration, agent: String, clock: Clock) -> Self {
        Self { net, gap, next: Mutex::new(Instant::now()), agent, clock }
    }

    /// Sends a request, and again later where the service asks for that (RFC 6585 section 4).
    pub(in crate::lab) async fn send(&self, what: &str, call: &Call, draft: Option<&Draft>) -> Said {
        self.turn().await;
        self.send_at_once(what, call, draft).await
    }

    /// The same without waiting for its turn, for what is to come at the same time as others.
    pub(in crate::lab) async fn send_at_once(&self, what: &str, call: &Call, draft: Option<&Draft>) -> Said {
        let token =
            draft.map(|draft| Sent { header: draft.header.clone().into(), claims: draft.claims.clone().into() });
        let mut evidence =
            Evidence { what: what.to_owned(), curl: call.curl(), token, answer: None, failure: None, took_ms: 0 };
        for n in 1.. {
            let began = Instant::now();
            let sent = self.net.send(call.request(&self.agent)).await;
            evidence.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let response = match sent {
                Ok(response) => response,
                Err(error) => {
                    let late = matches!(error, NetError::Timeout);
                    let why = if late { "no answer within 20 s".to_owned() } else { broke(&error) };
                    evidence.failure = Some(why.clone());
                    return Said { evidence, reply: Err(if late { Silence::TimedOut } else { Silence::Failed(why) }) };
                }
            };
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let json: Value = serde_json::from_str(&text).unwrap_or_default();
            let reply = Reply { status: response.status, json, headers: response.headers.clone() };
            evidence.answer =
                Some(Received { status: reply.status, code: reply.code(), body: shown(&text, &reply.json) });
            if reply.status != 429 {
                return Said { evidence, reply: Ok(reply) };
            }
            let wait = response.retry_after(self.clock.now()).unwrap_or(Seconds(5));
            if n == TRIES || wait > MAX_WAIT {
                let why = format!("429: it asks to come again after {} s", wait.0);
                evidence.failure = Some(why.clone());
                return Said { evidence, reply: Err(Silence::Failed(why)) };
            }
            tokio::time::sleep(Duration::from_secs(u64::try_from(wait.0).unwrap_or(0).max(1))).await;
            self.turn().await;
        }
        unreachable!("it ends by an answer")
    }

    /// Waits until another request may go.
    async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + self.gap;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }
}

/// Why there is no answer, and where to look.
fn broke(error: &NetError) -> String {
    match error {
        NetError::Transport(_) => format!("{error}: no answer came, so look for a crash in the service's log"),
        _ => error.to_string(),
    }
}

impl Call {
    /// Of nothing yet.
    #[must_use]
    pub(in crate::lab) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), body: String::new(), secrets: Vec::new() }
    }

    /// With a header field.
    #[must_use]
    pub(in crate::lab) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub(in crate::lab) fn body(mut self, content_type: impl Into<String>, body: impl Into<String>) -> Self {
        self.headers.push(("content-type", content_type.into()));
        self.body = body.into();
        self
    }

    /// With a form.
    #[must_use]
    pub(in crate::lab) fn form(self, content_type: &str, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body(content_type, body)
    }

    /// With a text in it that reports do not show, and what they show in its place.
    #[must_use]
    pub(in crate::lab) fn hiding(mut self, secret: &str, name: &'static str) -> Self {
        if !secret.is_empty() {
            self.secrets.push((secret.to_owned(), name));
        }
        self
    }

    fn request(&self, agent: &str) -> Request {
        let mut headers = self.headers.clone();
        headers.push(("user-agent", agent.to_owned()));
        let body = self.body.clone().into_bytes();
        Request { method: self.method, url: self.url.clone(), headers, body, timeout: TIMEOUT, max_body: MAX_BODY }
    }

    /// A command that does the same.
    #[must_use]
    pub(in crate::lab) fn curl(&self) -> String {
        let mut line = String::from("curl -sS -i");
        let mut part = |text: &str, plain: &str| {
            // Before anything is quoted: a secret may hold what quoting changes. In a form it has another spelling.
            let mut shown = plain.to_owned();
            for (n, (secret, _)) in self.secrets.iter().enumerate() {
                let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
                for spelling in [secret, &encoded] {
                    shown = shown.replace(spelling.as_str(), &format!("\0{n}\0"));
                }
            }
            let mut quoted = format!("'{}'", shown.replace('\'', r"'\''"));
            for (n, (_, name)) in self.secrets.iter().enumerate() {
                quoted = quoted.replace(&format!("\0{n}\0"), &format!("'\"${name}\"'"));
            }
            line.extend([" ", text, &quoted]);
        };
        for (name, value) in &self.headers {
            part("-H ", &format!("{name}: {value}"));
        }
        if self.method == Method::Post {
            part("--data-raw ", &self.body);
        }
        part("", self.url.as_str());
        line
    }
}

impl Reply {
    /// What kind of error it says (RFC 6749 section 5.2, RFC 8935 section 2.4, RFC 6750 section 3).
    #[must_use]
    pub(in crate::lab) fn code(&self) -> Option<String> {
        let member = ["error", "err"].iter().find_map(|name| self.json.get(name)?.as_str());
        let challenge = || {
            let value = self.headers.get("www-authenticate")?;
            let (_, rest) = value.split_once("error=\"")?;
            rest.split('"').next()
        };
        member.or_else(challenge).map(|code| code.chars().take(100).collect())
    }
}

/// The members of an answer that let whoever has them in.
pub(in crate::lab) const CREDENTIALS: [&str; 9] = [
    "credential",
    "api_key",
    "access_token",
    "refresh_token",
    "id_token",
    "identity_assertion",
    "claim_token",
    "token",
    "assertion",
];

/// The beginning of an answer, without what could be used by whoever reads it.
fn shown(text: &str, json: &Value) -> String {
    fn strike(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if !value.is_null() && !value.is_boolean() && CREDENTIALS.contains(&name.as_str()) {
                        *value = "(not shown)".into();
                    }
                    strike(value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(strike),
            _ => {}
        }
    }
    let text = if json.is_null() {
        text.to_owned()
    } else {
        let mut json = json.clone();
        strike(&mut json);
        json.to_string()
    };
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_is_in_a_command_whatever_is_in_it() {
        for secret in ["plain", "it's", "a+b/c==", "sp ace", "$HOME`id`"] {
            let url = Url::parse("https://service.example/token").unwrap();
            let call = Call::new(Method::Post, url).header("authorization", format!("Bearer {secret}"));
            let curl =
                call.form("application/x-www-form-urlencoded", &[("assertion", secret)]).hiding(secret, "S").curl();
            assert_eq!(curl.matches("\"$S\"").count(), 2, "{curl}");
            assert!(!curl.contains(secret) && !curl.contains('\0'), "{curl}");
        }
    }

    #[test]
    fn no_credential_is_shown_of_an_answer_however_it_is_wrapped() {
        let answer = json!({"access_token": "s3cret", "refresh_token": {"value": "s3cret"}, "identity": {"assertion": "s3cret"},
            "credential": ["s3cret"], "scope": "api.read"});
        let seen = shown(&answer.to_string(), &answer);
        assert!(!seen.contains("s3cret") && seen.contains("api.read"), "{seen}");
    }
}
