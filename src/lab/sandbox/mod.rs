//! `avouch sandbox`: a strict relying service of auth.md v0.1, in memory, to test an agent provider against.
//!
//! It refuses whatever the text lets a service refuse, so what passes here passes at a careful service. One page of routes
//! (here), the fetching (`trust`), the rules (`verify`) and the memory (`state`).

use crate::domain::time::{Seconds, Timestamp};

mod members;
mod pages;
mod reply;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trust;
mod verify;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State as Shared};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use self::members::Members;
use self::reply::{Code, Refusal};
use self::state::{Mark, Registration, State, registration_id};
use self::trust::Trust;
use crate::clock::Clock;
use crate::domain::claims::{ID_JAG, LOGOUT};
use crate::domain::ids::{IdError, IssuerUrl};
use crate::net::NetError;
use crate::rng::Rng;
use crate::secret::token_hash;

pub use self::state::{Event, What};

/// The assertion type accepted (ID-JAG draft section 3.1).
const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The credentials given out.
const CREDENTIAL_TYPES: [&str; 2] = ["access_token", "api_key"];

/// Seconds an access token lives; an API key lives until it is revoked.
const ACCESS_TOKEN_LIFETIME: Seconds = Seconds(3600);

/// Most bytes of a request's body, and the time it may take to come.
const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const REGISTER: &str = "/agent/auth";
const REVOKE: &str = "/agent/auth/revoke";

/// Settings of a [`Sandbox`].
pub struct Options {
    /// Whose assertions are accepted; empty: those of any issuer on a loopback host.
    pub trust: Vec<IssuerUrl>,
    /// The time.
    pub clock: Clock,
    /// Where credentials come from.
    pub rng: Rng,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The origin cannot be an issuer identifier.
    #[error("the sandbox's origin is refused: {0}")]
    Origin(#[from] IdError),
    /// No outbound client.
    #[error("the sandbox has no HTTP client")]
    Net(#[from] NetError),
}

/// A relying service; cheap to clone, all clones share its memory.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    origin: String,
    /// The resource of the Protected Resource Metadata; ends with a slash.
    resource: String,
    trust: Trust,
    clock: Clock,
    rng: Rng,
    state: Mutex<State>,
}

/// A new, empty sandbox. `origin` (`http://127.0.0.1:8000`) is where its router will be served, its issuer identifier and,
/// byte for byte, the `aud` it expects; so bind the port first. Nothing is fetched yet.
///
/// # Errors
/// When the origin is no issuer identifier (RFC 8414 section 2), or there is no outbound client.
pub fn new(origin: String, options: Options) -> Result<Sandbox, SandboxError> {
    IssuerUrl::parse(&origin)?;
    let Options { trust, clock, rng } = options;
    let trust = Trust::new(&origin, trust)?;
    let resource = format!("{origin}/api/");
    Ok(Sandbox(Arc::new(Inner { origin, resource, trust, clock, rng, state: Mutex::default() })))
}

impl Sandbox {
    /// Its routes, to be served at the origin's root.
    pub fn router(&self) -> Router {
        let page =
            |content_type: &'static str, body: String| get(move || async move { reply::document(content_type, body) });
        let origin = &self.0.origin;
        let json = "application/json";
        Router::new()
            .route("/", page("text/html; charset=utf-8", pages::index(origin)))
            .route("/auth.md", page("text/markdown; charset=utf-8", pages::auth_md(origin)))
            .route("/.well-known/oauth-protected-resource", page(json, pages::protected_resource(origin).to_string()))
            .route(
                "/.well-known/oauth-authorization-server",
                page(json, pages::authorization_server(origin).to_string()),
            )
            .route(REGISTER, post(register))
            .route(REVOKE, post(revoke))
            .route("/api/resource", get(resource).post(resource))
            .fallback(|_: Uri| async { reply::error(StatusCode::NOT_FOUND, "not_found", "there is nothing here") })
            .method_not_allowed_fallback(|| async {
                reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path takes another method")
            })
            .with_state(self.clone())
    }

    /// Its issuer identifier, the `aud` it expects.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// What happened so far, the latest 1000 events, oldest first. It holds no token.
    pub fn events(&self) -> Vec<Event> {
        self.state().events()
    }

    /// No code under this lock can leave the state half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies an assertion and gives out a credential (auth.md v0.1, "POST /agent/auth handler"). The order is that of its
    /// "Implementation steps"; nothing is kept before all of them have passed.
    async fn registered(&self, request: Request) -> Result<Value, Refusal> {
        let now = self.0.clock.now();
        let body = body(request, is_json).await?;
        let (assertion, credential_type) = envelope(&body)?;
        let (issuer, claims) = self.0.trust.believe(&assertion, ID_JAG, now).await?;
        verify::audience(&claims, &self.0.origin)?;
        let until = verify::times(&claims, now)?;
        let mark = Mark::new(issuer.as_str(), verify::jti(&claims)?, until);
        self.state().fresh(&mark, now)?;
        let sub = verify::subject(&claims)?;
        self.0.trust.client(&issuer, &claims, now).await?;
        let person = verify::person(&claims)?;
        verify::auth_time(&claims, now)?;
        verify::resource(&claims, &self.0.resource)?;
        let scopes = verify::scopes(&claims)?;

        let id = registration_id(issuer.as_str(), sub, &self.0.origin);
        let expires_at = (credential_type == "access_token").then_some(now + ACCESS_TOKEN_LIFETIME);
        let credential = format!("sandbox_{credential_type}_{}", self.0.rng.token());
        let answer = json!({
            "registration_id": id,
            "registration_type": "agent-provider",
            "credential_type": credential_type,
            "credential": credential,
            "credential_expires": expires_at.map(iso8601),
            "scopes": scopes.iter().collect::<Vec<_>>(),
        });
        let registration = Registration {
            id: id.clone(),
            iss: issuer.as_str().to_owned(),
            sub: sub.to_owned(),
            email: person.email,
            phone_number: person.phone_number,
            scopes,
        };
        let mut state = self.state();
        state.register(mark, token_hash(&credential), registration, expires_at, now)?;
        tracing::info!(iss = ?issuer.as_str(), sub = ?sub, registration_id = id, credential_type, "registered");
        state.note(now, What::Registered { registration_id: id, credential_type });
        Ok(answer)
    }

    /// Verifies a logout token and ends every credential of its (iss, sub, aud) (auth.md v0.1, "Revocation"). A user nobody knows
    /// here is answered like one without credentials.
    async fn revoked(&self, request: Request) -> Result<Value, Refusal> {
        let now = self.0.clock.now();
        // The reference service takes exactly this and no parameters.
        let body = body(request, |content_type| content_type == "application/logout+jwt").await?;
        let token = std::str::from_utf8(&body).map_err(|_| Refusal::new(Code::InvalidRequest, "the body is no JWT"))?;
        let (issuer, claims) = self.0.trust.believe(token, LOGOUT, now).await?;
        let until = verify::notice(&claims, &self.0.origin, now)?;
        let mark = Mark::new(issuer.as_str(), verify::jti(&claims)?, until);
        let sub = verify::subject(&claims)?;
        let id = registration_id(issuer.as_str(), sub, &self.0.origin);
        let mut state = self.state();
        let credentials = state.revoke(mark, &id, now)?;
        tracing::info!(iss = ?issuer.as_str(), sub = ?sub, registration_id = id, credentials, "revoked");
        state.note(now, What::Revoked { registration_id: id, credentials });
        Ok(json!({"revoked": credentials}))
    }

    fn answer(&self, endpoint: &'static str, outcome: Result<Value, Refusal>) -> Response {
        match outcome {
            Ok(body) => reply::json(StatusCode::OK, &body),
            Err(refusal) => {
                let (code, _) = refusal.code.wire();
                tracing::info!(endpoint, code, message = %refusal.message, "refused");
                self.state().note(self.0.clock.now(), What::Refused { endpoint, code });
                refusal.response()
            }
        }
    }

    /// 401 with the hint where to begin (RFC 9728 section 5.1). The error only where a credential was sent (RFC 6750
    /// section 3.1).
    fn unauthorized(&self, sent: bool) -> Response {
        let (code, message) = if sent {
            ("invalid_token", "the credential is unknown, expired or revoked")
        } else {
            ("unauthorized", "a credential is needed: begin at the resource metadata")
        };
        let mut hint = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource\"", self.0.origin);
        if sent {
            hint.push_str(", error=\"invalid_token\"");
        }
        tracing::info!(code, "unauthorized");
        let mut response = reply::error(StatusCode::UNAUTHORIZED, code, message);
        let hint = HeaderValue::try_from(hint).expect("an origin that parsed as an issuer is visible ASCII");
        response.headers_mut().insert(WWW_AUTHENTICATE, hint);
        response
    }
}

async fn register(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.registered(request).await;
    sandbox.answer(REGISTER, outcome)
}

async fn revoke(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.revoked(request).await;
    sandbox.answer(REVOKE, outcome)
}

/// The protected resource: says whom the credential stands for.
async fn resource(Shared(sandbox): Shared<Sandbox>, headers: HeaderMap) -> Response {
    let now = sandbox.0.clock.now();
    let sent = bearer(&headers);
    let mut state = sandbox.state();
    let Some(who) = sent.and_then(|credential| state.find(&token_hash(credential), now).cloned()) else {
        state.note(now, What::Unauthorized);
        drop(state);
        return sandbox.unauthorized(sent.is_some());
    };
    tracing::info!(registration_id = who.id, "served");
    state.note(now, What::Served { registration_id: who.id.clone() });
    let body = json!({
        "iss": who.iss,
        "sub": who.sub,
        "email": who.email,
        "phone_number": who.phone_number,
        "scopes": who.scopes.iter().collect::<Vec<_>>(),
        "registration_id": who.id,
    });
    reply::json(StatusCode::OK, &body)
}

/// The one credential in the one header; two are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim_start())
}

/// The body of a request whose media type fits.
async fn body(request: Request, fits: impl Fn(&str) -> bool) -> Result<Vec<u8>, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !fits(content_type) {
        return Refusal::because(Code::InvalidRequest, "the body is not of the media type expected here");
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await;
    match whole {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => Refusal::because(Code::TooLarge, "the body is longer than 64 KiB, or broke off"),
        Err(_) => Refusal::because(Code::InvalidRequest, "the body did not come in time"),
    }
}

/// JSON, with or without parameters such as `charset=utf-8`.
fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The request around an assertion: the assertion and the credential asked for (auth.md v0.1, "POST /agent/auth handler").
fn envelope(body: &[u8]) -> Result<(String, &'static str), Refusal> {
    let invalid = |why| Refusal::new(Code::InvalidRequest, why);
    let members: Members = serde_json::from_slice(body).map_err(|_| invalid("the body is not a JSON object"))?;
    if members.repeated {
        return Err(invalid("a member is repeated"));
    }
    if members.text("type") != Some("identity_assertion") {
        return Err(invalid("type is not identity_assertion"));
    }
    if members.text("assertion_type") != Some(ID_JAG_TYPE) {
        return Err(invalid("assertion_type is not that of an ID-JAG"));
    }
    let asked = members.text("requested_credential_type");
    let known = CREDENTIAL_TYPES.into_iter().find(|known| Some(*known) == asked);
    let unsupported = || {
        let why = "requested_credential_type is neither access_token nor api_key";
        Refusal::new(Code::UnsupportedCredentialType, why)
    };
    let credential_type = known.ok_or_else(unsupported)?;
    let assertion = members.text("assertion").ok_or_else(|| invalid("assertion is missing or not a text"))?;
    Ok((assertion.to_owned(), credential_type))
}

/// As JavaScript writes it: `2026-05-04T13:00:00.000Z`.
fn iso8601(at: Timestamp) -> Option<String> {
    DateTime::from_timestamp(at.0, 0).map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
