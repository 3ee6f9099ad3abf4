//! A tiny issuer and a client for the sandbox's tests: real sockets on 127.0.0.1, real signatures.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};
use url::Url;

use super::{Options, Sandbox};
use crate::clock::Clock;
use crate::domain::claims::{ID_JAG, LOGOUT, REVOKED_EVENT};
use crate::domain::ids::IssuerUrl;
use crate::domain::rotation::SigningAlg;
use crate::domain::time::{Seconds, Timestamp};
use crate::jose::{SealingKey, SigningKey};
use crate::lab::flaws::Dialect;
use crate::lab::testing::{a_sandbox, client, net, serve};
use crate::net::{Method, Net, Request, Response};
use crate::rng::Rng;

pub(super) const NOW: Timestamp = Timestamp(1_800_000_000);

pub(super) fn key() -> SigningKey {
    SigningKey::generate(SigningAlg::Es256, &SealingKey::from_bytes(&[1; 32]).unwrap(), "i", &Rng::seeded(1)).unwrap().0
}

/// A token by a key that is in memory, and so signs at once.
pub(super) fn signed(key: &SigningKey, typ: &str, claims: &(impl serde::Serialize + Sync)) -> String {
    let token = std::pin::pin!(key.sign(typ, claims));
    match token.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(token) => token.unwrap(),
        Poll::Pending => panic!("the key is not in memory"),
    }
}

/// Publishes documents by path and counts what is fetched.
pub(super) struct Provider {
    pub(super) origin: String,
    pub(super) key: SigningKey,
    documents: Arc<Mutex<Vec<(String, Value)>>>,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let (documents, fetched) =
            (Arc::<Mutex<Vec<(String, Value)>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (shelf, log) = (documents.clone(), fetched.clone());
        let handler = move |uri: Uri| async move {
            log.lock().unwrap().push(uri.path().to_owned());
            let found = shelf.lock().unwrap().iter().rev().find(|(path, _)| path == uri.path()).cloned();
            let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
            (status, [(CONTENT_TYPE, "application/json")], found.unwrap_or_default().1.to_string())
        };
        let origin = serve(|_| axum::Router::new().fallback(handler)).await;
        let provider = Self { origin, key: key(), documents, fetched };
        provider.publish("/.well-known/jwks.json", json!({"keys": [provider.key.public_jwk()]}));
        provider
    }

    /// Puts a document in the place of an earlier one.
    pub(super) fn publish(&self, path: &str, document: Value) {
        self.documents.lock().unwrap().push((path.to_owned(), document));
    }

    /// How often a path was fetched.
    pub(super) fn fetched(&self, path: &str) -> usize {
        self.fetched.lock().unwrap().iter().filter(|fetched| *fetched == path).count()
    }
}

/// A sandbox, an issuer that it trusts, and the agent between them.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) provider: Provider,
    pub(super) clock: Clock,
    pub(super) aud: String,
    net: Net,
    rng: Rng,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::trusting(Vec::new()).await
    }

    pub(super) async fn trusting(trust: Vec<IssuerUrl>) -> Self {
        Self::with(|options| options.trust = trust).await
    }

    pub(super) async fn speaking(dialect: Dialect) -> Self {
        Self::with(|options| options.dialect = dialect).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Clock::fixed(NOW);
        let mut options = Options::strict(clock.clone(), Rng::seeded(2));
        options.clients = vec![client("c")];
        change(&mut options);
        let (aud, sandbox) = a_sandbox(options).await;
        let net = net();
        Self { sandbox, provider: Provider::start().await, clock, aud, net, rng: Rng::seeded(3) }
    }

    /// The claims of a good assertion, with others; a null takes one away.
    pub(super) fn claims(&self, changes: Value) -> Value {
        let now = self.clock.now();
        let base = json!({"iss": self.provider.origin, "sub": "user-1", "aud": self.aud, "jti": self.rng.id(now),
            "client_id": self.provider.origin, "iat": now, "exp": now + Seconds(300), "email": "alice@example.com",
            "email_verified": true});
        merged(base, changes)
    }

    pub(super) fn assertion(&self, changes: Value) -> String {
        signed(&self.provider.key, ID_JAG, &self.claims(changes))
    }

    pub(super) fn notice(&self, changes: Value) -> String {
        let now = self.clock.now();
        let base = json!({"iss": self.provider.origin, "sub": "user-1", "aud": self.aud, "jti": self.rng.id(now),
            "iat": now, "events": {REVOKED_EVENT: {}}});
        signed(&self.provider.key, LOGOUT, &merged(base, changes))
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response {
        let request = Request {
            method,
            url: Url::parse(&format!("{}{path}", self.aud)).unwrap(),
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            body: body.as_bytes().to_vec(),
            timeout: Duration::from_secs(10),
            max_body: 1024 * 1024,
        };
        self.net.send(request).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.send(Method::Get, path, &[], "").await
    }

    pub(super) async fn post(&self, body: &Value) -> (u16, Value) {
        read(&self.send(Method::Post, "/agent/auth", &[("content-type", "application/json")], &body.to_string()).await)
    }

    /// An answer with its status, whatever it says.
    pub(super) async fn form(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        fields: &[(&str, &str)],
    ) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
        let response = self.send(Method::Post, path, &headers, &body).await;
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }

    /// An assertion presented at the identity endpoint of the newer dialects.
    pub(super) async fn identify(&self, assertion: &str) -> (u16, Value) {
        let body = json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
            "assertion": assertion});
        self.json("/agent/identity", &body).await
    }

    pub(super) async fn json(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        read(&self.send(Method::Post, path, &headers, &body.to_string()).await)
    }

    pub(super) async fn register(&self, assertion: &str, credential_type: &str) -> (u16, Value) {
        self.post(&envelope(assertion, credential_type)).await
    }

    /// A credential from a good assertion.
    pub(super) async fn credential(&self, changes: Value) -> String {
        let (status, body) = self.register(&self.assertion(changes), "api_key").await;
        assert_eq!(status, 200, "{body}");
        body["credential"].as_str().unwrap().to_owned()
    }

    pub(super) async fn revoke(&self, notice: &str) -> (u16, Value) {
        let headers = [("content-type", "application/logout+jwt")];
        read(&self.send(Method::Post, "/agent/auth/revoke", &headers, notice).await)
    }

    pub(super) async fn call(&self, credential: &str) -> (u16, Value) {
        let value = format!("Bearer {credential}");
        read(&self.send(Method::Get, "/api/resource", &[("authorization", &value)], "").await)
    }
}

pub(super) fn envelope(assertion: &str, credential_type: &str) -> Value {
    json!({"type": "identity_assertion", "assertion_type": "urn:ietf:params:oauth:token-type:id-jag",
        "assertion": assertion, "requested_credential_type": credential_type})
}

/// `base` with other members; a null takes one away.
pub(super) fn merged(mut base: Value, changes: Value) -> Value {
    let (Value::Object(object), Value::Object(changes)) = (&mut base, changes) else { panic!("not objects") };
    object.extend(changes);
    object.retain(|_, value| !value.is_null());
    base
}

pub(super) fn read(response: &Response) -> (u16, Value) {
    assert_eq!(response.header("content-type"), Some("application/json"));
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

/// Status and error code of a refusal, which also carries a sentence.
pub(super) fn refusal((status, body): (u16, Value)) -> (u16, String) {
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}
