//! A strict relying service for tests and demonstrations: it accepts the ID-JAGs of issuers that it trusts, gives out credentials, and ends
//! them when it is told that the user withdrew. It speaks auth.md in three shapes and plain RFC 7523, and each of its rules can be switched
//! off ([`Rule`]).
//!
//! Everything is kept in memory and forgotten at the end.

mod ceremony;
mod checks;
mod claimable;
mod claims;
mod client;
mod event;
mod examine;
mod fetch;
mod form;
mod grant;
mod identity;
mod members;
mod metadata;
mod page;
mod person;
mod possession;
mod rate;
mod receive;
mod registration;
mod reply;
mod resource;
mod state;
mod stream;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;
mod trust;
mod user_claimed;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use self::checks::Checks;
use self::metadata::{ASK_AGAIN, AUTHORIZE};
use self::receive::{GLOBAL_REVOCATION_PATH, Heard};
use self::reply::{Form, Refusal};
use self::state::State;
use self::trust::Trust;
use crate::clock::Clock;
use crate::domain::ids::{IdError, IssuerUrl};
use crate::domain::rotation::SigningAlg;
use crate::jose::{JoseError, LabKey};
use crate::lab::flaws::{Broken, Dialect, Kind, Rule};
use crate::net::NetError;
use crate::rng::Rng;

pub use self::client::Client;
pub use self::event::{Event, What};
pub use self::rate::{Rate, RateError};

/// Settings of a [`Sandbox`].
pub struct Options {
    /// Whose assertions are accepted; empty: those of any issuer on a loopback host.
    pub trust: Vec<IssuerUrl>,
    /// What it speaks.
    pub dialect: Dialect,
    /// The rules that it does not keep.
    pub broken: Broken,
    /// The clients that it knows, for plain RFC 7523; others name themselves by their documents.
    pub clients: Vec<Client>,
    /// Users, by `sub` or e-mail address, who may not use it.
    pub denied: Vec<String>,
    /// Its `client_id` at the issuers' OpenID Provider, for back-channel logout; its own identifier unless said.
    pub relying_party: Option<String>,
    /// How often an address may register, if that is bounded.
    pub rate_limit: Option<Rate>,
    /// How often a user may.
    pub user_rate_limit: Option<Rate>,
    /// The time.
    pub clock: Clock,
    /// Where credentials come from.
    pub rng: Rng,
}

impl Options {
    /// As strict as it gets, in auth.md v0.1, trusting any issuer on this machine.
    #[must_use]
    pub fn strict(clock: Clock, rng: Rng) -> Self {
        Self {
            trust: Vec::new(),
            dialect: Dialect::V01,
            broken: Broken::default(),
            clients: Vec::new(),
            denied: Vec::new(),
            relying_party: None,
            rate_limit: None,
            user_rate_limit: None,
            clock,
            rng,
        }
    }
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
    /// No key of its own.
    #[error("the sandbox has no key: {0}")]
    Key(#[from] JoseError),
}

/// A relying service; cheap to clone, all clones share its memory.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    origin: String,
    dialect: Dialect,
    broken: Broken,
    clients: Vec<Client>,
    denied: Vec<String>,
    relying_party: Option<String>,
    rate_limits: [Option<Rate>; 2],
    trust: Trust,
    /// Signs the service's own assertions.
    key: LabKey,
    clock: Clock,
    rng: Rng,
    state: Mutex<State>,
    streams: Arc<Semaphore>,
    ended: watch::Sender<bool>,
}

/// A new, empty sandbox. `origin` (`http://127.0.0.1:8000`) is where its router will be served, its issuer identifier and, byte for byte,
/// the `aud` it expects; so bind the port first. Nothing is fetched yet.
///
/// # Errors
/// When the origin is no issuer identifier (RFC 8414 section 2), or there is no outbound client or key.
pub fn new(origin: String, options: Options) -> Result<Sandbox, SandboxError> {
    IssuerUrl::parse(&origin)?;
    let Options { trust, dialect, broken, clients, denied, relying_party, rate_limit, user_rate_limit, clock, rng } =
        options;
    let trust = Trust::new(&origin, trust, dialect, broken)?;
    let key = LabKey::generate(SigningAlg::Es256, &rng)?;
    Ok(Sandbox(Arc::new(Inner {
        origin,
        dialect,
        broken,
        clients,
        denied,
        relying_party,
        rate_limits: [rate_limit, user_rate_limit],
        trust,
        key,
        clock,
        rng,
        state: Mutex::default(),
        streams: Arc::new(Semaphore::new(stream::MAX_STREAMS)),
        ended: watch::Sender::new(false),
    })))
}

const IDENTITY_V01: &str = "/agent/auth";
const IDENTITY: &str = "/agent/identity";
const TOKEN: &str = "/oauth2/token";

impl Sandbox {
    /// Its routes, to be served at the origin's root.
    pub fn router(&self) -> Router {
        let Inner { origin, dialect, .. } = &*self.0;
        let document =
            |content_type: &'static str, body: String| get(move || async move { reply::document(content_type, body) });
        let json = |value: Value| document("application/json", value.to_string());
        let mut router = Router::new()
            .route("/", get(index))
            .route("/auth.md", document("text/markdown; charset=utf-8", metadata::auth_md(origin, *dialect)))
            .route("/.well-known/oauth-protected-resource", json(metadata::protected_resource(origin)))
            .route("/.well-known/oauth-authorization-server", json(metadata::authorization_server(origin, *dialect)))
            .route("/agent/auth/revoke", post(logout_token))
            .route("/agent/event/notify", post(security_event))
            .route(GLOBAL_REVOCATION_PATH, post(global_revocation))
            .route("/backchannel_logout", post(back_channel))
            .route("/sandbox/restart", post(restart))
            .route("/sandbox/events", get(events))
            .route("/sandbox/events/stream", get(stream::serve))
            .route("/sandbox/page.css", document("text/css; charset=utf-8", page::STYLE.to_owned()))
            .route("/sandbox/page.js", document("text/javascript; charset=utf-8", page::SCRIPT.to_owned()))
            .route("/api/", get(resource::serve).post(resource::serve))
            .route("/api/resource", get(resource::serve).post(resource::serve));
        if *dialect == Dialect::V01 {
            router = router
                .route(IDENTITY_V01, post(identity))
                .route("/agent/auth/claim", post(claim_started))
                .route("/agent/auth/claim/complete", post(claim_completed))
                .route("/claim/{attempt}", get(user_claimed::ask).post(user_claimed::answer))
                .route("/sandbox/mail", get(user_claimed::mail));
        } else {
            router = router.route(TOKEN, post(token)).route("/oauth2/revoke", post(give_back));
        }
        if matches!(dialect, Dialect::Flat | Dialect::Nested) {
            router = router
                .route(IDENTITY, post(identity))
                .route(ASK_AGAIN, post(ask_again))
                .route("/claim/{attempt}", get(ceremony::ask).post(ceremony::answer))
                .route("/.well-known/jwks.json", json(json!({"keys": [self.0.key.public_jwk()]})));
        }
        if *dialect == Dialect::Nested {
            router = router.route("/agent/identity/claim/complete", post(complete));
        }
        if *dialect == Dialect::Plain {
            router = router.route(AUTHORIZE, get(authorize));
        }
        router
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

    /// Ends the streams of events, which would else go on for as long as somebody looks. For the end of the process.
    pub fn close(&self) {
        self.0.ended.send_replace(true);
    }

    /// As after a restart: one that keeps used `jti`s in memory alone has forgotten them.
    pub fn restart(&self) {
        if self.0.broken.lacks(Rule::ForgetJtisAtRestart) {
            self.state().forget_jtis();
        }
    }

    /// Whether an address may come once more. Where there is none, as behind a proxy, nobody counts.
    fn judge_rate(&self, request: &Request) -> Result<(), Refusal> {
        let peer = request.extensions().get::<SocketAddr>();
        peer.map_or(Ok(()), |peer| self.judge_rate_of(&mut self.state(), 0, &peer.ip().to_canonical().to_string()))
    }

    /// Whether a user may.
    fn judge_user_rate(&self, state: &mut State, user: &str) -> Result<(), Refusal> {
        self.judge_rate_of(state, 1, user)
    }

    fn judge_rate_of(&self, state: &mut State, n: usize, who: &str) -> Result<(), Refusal> {
        let Some(rate) = self.0.rate_limits[n] else { return Ok(()) };
        let now = self.0.clock.now();
        let counted = state.came[n].count(who, rate, now);
        counted.map_err(|until| rate::too_often(self.0.dialect, until - now))
    }

    /// No code under this lock can leave the state half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an endpoint says in the end, with what was made of the token, for whoever looks.
    fn answer(
        &self,
        endpoint: &'static str,
        how: (Form, Kind, Dialect),
        checks: Checks,
        outcome: Result<Response, Refusal>,
    ) -> Response {
        let now = self.0.clock.now();
        let code = |refusal: &Refusal| (refusal.wire(how.1, how.2).1, refusal.message.clone().into_owned());
        if checks.is_of_a_token() {
            self.state().judged(checks.judged(endpoint, outcome.as_ref().err().map(code), now));
        }
        outcome.unwrap_or_else(|refusal| self.refuse(endpoint, how, refusal))
    }

    /// The same where no token is looked at.
    fn of_claim(&self, endpoint: &'static str, outcome: Result<Value, Refusal>) -> Response {
        let how = (Form::AuthMd, Kind::Assertion, self.0.dialect);
        match outcome {
            Ok(body) => reply::json(StatusCode::OK, &body),
            Err(refusal) => self.refuse(endpoint, how, refusal),
        }
    }

    /// A refusal as an endpoint says it, and in the journal.
    fn refuse(&self, endpoint: &'static str, how: (Form, Kind, Dialect), refusal: Refusal) -> Response {
        let (form, kind, dialect) = how;
        let wire = refusal.wire(kind, dialect);
        tracing::info!(endpoint, code = wire.1, message = %refusal.message, "refused");
        let why = refusal.message.clone().into_owned();
        self.state().note(self.0.clock.now(), What::Refused { endpoint, code: wire.1, why });
        reply::refused(form, wire, refusal)
    }
}

async fn index(Shared(sandbox): Shared<Sandbox>) -> Response {
    reply::page(page::index(&sandbox))
}

async fn restart(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    if let Some(response) = reply::from_elsewhere(request.headers()) {
        return response;
    }
    sandbox.restart();
    reply::empty(StatusCode::NO_CONTENT)
}

async fn events(Shared(sandbox): Shared<Sandbox>) -> Response {
    sandbox.state().lapse(sandbox.0.clock.now());
    reply::json(StatusCode::OK, &json!({"items": sandbox.events()}))
}

async fn identity(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let dialect = sandbox.0.dialect;
    let endpoint = if dialect == Dialect::V01 { IDENTITY_V01 } else { IDENTITY };
    let mut checks = Checks::of_assertion(dialect);
    let outcome = sandbox.registered(request, &mut checks).await.map(|body| reply::json(StatusCode::OK, &body));
    sandbox.answer(endpoint, (Form::AuthMd, Kind::Assertion, dialect), checks, outcome)
}

async fn complete(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.completed(request).await;
    sandbox.of_claim("/agent/identity/claim/complete", outcome)
}

async fn ask_again(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.asked_again(request).await;
    sandbox.of_claim(ASK_AGAIN, outcome)
}

/// Nobody signs in here. No redirect either: it knows no address that it could trust (RFC 6749 section 4.1.2.1).
async fn authorize(Shared(sandbox): Shared<Sandbox>) -> Response {
    let why = "nobody signs in here: present an assertion at the token endpoint";
    let refusal = Refusal::coded(400, "unsupported_response_type", why);
    sandbox.refuse(AUTHORIZE, (Form::OAuth, Kind::Assertion, Dialect::Plain), refusal)
}

async fn claim_started(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.claim_started(request).await;
    sandbox.of_claim("/agent/auth/claim", outcome)
}

async fn claim_completed(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let outcome = sandbox.claim_completed(request).await;
    sandbox.of_claim("/agent/auth/claim/complete", outcome)
}

async fn token(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let mut checks = Checks::of_assertion(sandbox.0.dialect);
    let outcome = sandbox.granted(request, &mut checks).await.map(|body| reply::json(StatusCode::OK, &body));
    sandbox.answer(TOKEN, (Form::OAuth, Kind::Assertion, Dialect::Plain), checks, outcome)
}

async fn give_back(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    match sandbox.given_back(request).await {
        Ok(()) => reply::empty(StatusCode::OK),
        Err(refusal) => {
            let refusal = Refusal { code: Some((400, "invalid_request")), ..refusal };
            sandbox.refuse("/oauth2/revoke", (Form::OAuth, Kind::Assertion, Dialect::Plain), refusal)
        }
    }
}

async fn logout_token(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let mut checks = Checks::of_notice();
    let heard = sandbox.logout_token(request, &mut checks).await;
    let outcome = heard.map(|heard| reply::json(StatusCode::OK, &heard.counted()));
    sandbox.answer("/agent/auth/revoke", (Form::AuthMd, Kind::Notice, Dialect::V01), checks, outcome)
}

async fn security_event(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let mut checks = Checks::of_notice();
    let outcome = sandbox.security_event(request, &mut checks).await.map(|_| reply::empty(StatusCode::ACCEPTED));
    sandbox.answer("/agent/event/notify", (Form::Set, Kind::Notice, Dialect::Flat), checks, outcome)
}

async fn global_revocation(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let mut checks = Checks::of_order();
    let heard = sandbox.global_revocation(request, &mut checks).await;
    told(&sandbox, GLOBAL_REVOCATION_PATH, checks, heard, StatusCode::NO_CONTENT)
}

async fn back_channel(Shared(sandbox): Shared<Sandbox>, request: Request) -> Response {
    let mut checks = Checks::of_notice();
    let heard = sandbox.back_channel(request, &mut checks).await;
    told(&sandbox, "/backchannel_logout", checks, heard, StatusCode::OK)
}

fn told(
    sandbox: &Sandbox,
    endpoint: &'static str,
    checks: Checks,
    heard: Result<Heard, Refusal>,
    done: StatusCode,
) -> Response {
    // Neither specification has codes beyond this one.
    let outcome = heard.map(|_| reply::empty(done)).map_err(|refusal| {
        let code = refusal.code.or(match refusal.wire(Kind::Notice, Dialect::V01) {
            (status @ 400..=499, _) => Some((status, "invalid_request")),
            other => Some(other),
        });
        Refusal { code, ..refusal }
    });
    sandbox.answer(endpoint, (Form::OAuth, Kind::Notice, Dialect::V01), checks, outcome)
}
