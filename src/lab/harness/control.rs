//! The control API.

use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

use super::wrong::json_response;
use super::{Harness, Wrong, faults, keys};
use crate::domain::claims::LOGOUT;
use crate::domain::ids::Jti;
use crate::domain::time::Seconds;
use crate::flow::issuers;
use crate::host::{App, DEFAULT_ISSUER};
use crate::lab::flaws::{self, Draft, Flaw, Kind, Presented, SECEVENT, Terms};
use crate::lab::mint::{SUB, Wish, address_of, mint};
use crate::net::{self, Method};

/// Most bytes of a call.
const MAX_BODY: usize = 64 * 1024;
/// Most seconds that the clock is moved to either side: two centuries.
const MAX_SHIFT: i64 = 200 * 366 * 86_400;

type Answer = Result<Response, Wrong>;

pub(super) fn router(harness: Harness) -> Router {
    Router::new()
        .route("/assertions", post(assertions))
        .route("/notices", post(notices))
        .route("/keys", get(list_keys))
        .route("/keys/{move}", post(move_key))
        .route("/issuers", post(add_issuer))
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/clock", get(time).post(shift))
        .route("/flaws", get(list_flaws))
        .route("/ledger", get(ledger).delete(clear_ledger))
        .fallback(|| async { answer(Err(Wrong::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))) })
        .method_not_allowed_fallback(|| async {
            let message = "this path takes another method";
            answer(Err(Wrong::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)))
        })
        .with_state(harness)
}

fn answer(answer: Answer) -> Response {
    answer.unwrap_or_else(|wrong| wrong.response())
}

fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}

/// What a call says; nothing says nothing.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Wrong> {
    let too_large = |_| Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body has at most 64 KiB");
    let bytes = to_bytes(request.into_body(), MAX_BODY).await.map_err(too_large)?;
    let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    serde_json::from_slice(text).map_err(|e| Wrong::request(e.to_string()))
}

fn flaw(name: Option<&str>, kind: Kind) -> Result<Option<&'static Flaw>, Wrong> {
    let Some(name) = name else { return Ok(None) };
    let found = flaws::find(name).map_err(|nearest| {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        Wrong::request(format!("flaw: there is none of that name{hint}"))
    })?;
    if found.kind == kind {
        return Ok(Some(found));
    }
    Err(Wrong::request(format!("flaw: {name} is one of a {}, not of a {}", found.kind.as_str(), kind.as_str())))
}

impl Harness {
    async fn app(&self, issuer: Option<&str>) -> Result<App, Wrong> {
        let found = issuers::app(&self.0.host, issuer.unwrap_or(DEFAULT_ISSUER)).await?;
        found.ok_or_else(|| {
            Wrong::new(StatusCode::NOT_FOUND, "not_found", "there is no issuer of that id: POST /harness/issuers")
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assertion {
    audience: String,
    sub: Option<String>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    header: Map<String, Value>,
    flaw: Option<String>,
    proof_for: Option<String>,
    alg: Option<String>,
    issuer: Option<String>,
}

async fn assertions(State(harness): State<Harness>, request: Request) -> Response {
    answer(mint_one(&harness, request).await)
}

async fn mint_one(harness: &Harness, request: Request) -> Answer {
    let asked: Assertion = read(request).await?;
    let flaw = flaw(asked.flaw.as_deref(), Kind::Assertion)?;
    let app = harness.app(asked.issuer.as_deref()).await?;
    let alg = keys::alg(asked.alg.as_deref())?;
    let cast = harness.cast(&app.issuer.id, app.issuer.url.clone(), alg).await?;
    // Either way of saying who it is about says whose address it has.
    let named = asked.claims.get("sub").and_then(Value::as_str).map(str::to_owned);
    let sub = asked.sub.or(named).unwrap_or_else(|| SUB.to_owned());
    let terms = Terms {
        audience: asked.audience,
        email: Some(address_of(&sub)),
        sub,
        client_id: app.issuer.client_id.to_string(),
        scope: None,
        resource: None,
        jti: harness.0.host.rng.jti(),
        alg,
    };
    let claims: Vec<(String, Value)> = asked.claims.into_iter().collect();
    let proof_for = asked.proof_for.as_deref();
    proof_for.map(Url::parse).transpose().map_err(|e| Wrong::request(format!("proof_for: {e}")))?;
    let header: Vec<(String, Value)> = asked.header.into_iter().collect();
    let minted = mint(&cast, &Wish { terms, claims: &claims, header: &header, flaw, proof_for })?;
    Ok(ok(&minted.to_json(&cast, flaw)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notice {
    audience: String,
    sub: Option<String>,
    format: String,
    flaw: Option<String>,
    deliver_to: Option<String>,
    alg: Option<String>,
    issuer: Option<String>,
}

async fn notices(State(harness): State<Harness>, request: Request) -> Response {
    answer(notify(&harness, request).await)
}

async fn notify(harness: &Harness, request: Request) -> Answer {
    let asked: Notice = read(request).await?;
    if ![LOGOUT, SECEVENT].contains(&asked.format.as_str()) {
        return Err(Wrong::request("format is logout+jwt or secevent+jwt"));
    }
    let flaw = flaw(asked.flaw.as_deref(), Kind::Notice)?;
    let to = asked.deliver_to.as_deref().map(Url::parse).transpose();
    let to = to.map_err(|e| Wrong::request(format!("deliver_to: {e}")))?;
    let app = harness.app(asked.issuer.as_deref()).await?;
    let alg = keys::alg(asked.alg.as_deref())?;
    let cast = harness.cast(&app.issuer.id, app.issuer.url.clone(), alg).await?;
    let (sub, jti): (_, Jti) = (asked.sub.as_deref().unwrap_or(SUB), harness.0.host.rng.jti());
    let good = cast.notice(&asked.format, alg, &asked.audience, sub, &jti)?;
    let draft = flaw.and_then(|flaw| flaw.apply(&good, &cast)).unwrap_or(good);
    let token = draft.token(&cast)?;
    let mut body = json!({"token": token, "jti": jti, "kid": draft.header.get("kid"), "flaw": flaw});
    if let Some(to) = to {
        body["answers"] = deliver(harness, &asked.format, &draft, &token, &to).await?;
    }
    Ok(ok(&body))
}

/// Sends a notice as its flaw has it, and says what came back, each time.
async fn deliver(harness: &Harness, format: &str, draft: &Draft, token: &str, to: &Url) -> Result<Value, Wrong> {
    let usual = format!("application/{format}");
    let content_type = if let Presented::As(other) = draft.presented { other } else { &usual };
    let times = if draft.presented == Presented::Again { 2 } else { 1 };
    let body =
        if content_type.ends_with("form-urlencoded") { format!("logout_token={token}") } else { token.to_owned() };
    let mut answers = Vec::new();
    for _ in 0..times {
        let request = net::Request {
            method: Method::Post,
            url: to.clone(),
            headers: vec![("content-type", content_type.to_owned()), ("accept", "application/json".to_owned())],
            body: body.clone().into_bytes(),
            timeout: Duration::from_secs(10),
            max_body: MAX_BODY,
        };
        let sent = harness.0.host.net.send(request).await;
        let sent = sent.map_err(|e| Wrong::new(StatusCode::BAD_GATEWAY, "unreachable", e.to_string()))?;
        answers.push(json!({"status": sent.status, "body": String::from_utf8_lossy(&sent.body)}));
    }
    Ok(json!(answers))
}

async fn list_keys(State(harness): State<Harness>) -> Response {
    answer(harness.keys(DEFAULT_ISSUER).await.map(|keys| ok(&json!({"items": keys}))))
}

async fn move_key(State(harness): State<Harness>, Path(what): Path<String>, request: Request) -> Response {
    let moved = async {
        if !["prepare", "activate", "retire", "revoke"].contains(&what.as_str()) {
            return Err(Wrong::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "keys are prepared, activated, retired or revoked",
            ));
        }
        let ask: keys::Ask = read(request).await?;
        let app = harness.app(ask.issuer.as_deref()).await?;
        harness.move_key(&what, &app.issuer.id, &ask).await
    };
    answer(moved.await.map(|body| ok(&body)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewIssuer {
    id: String,
}

async fn add_issuer(State(harness): State<Harness>, request: Request) -> Response {
    let added = async {
        let asked: NewIssuer = read(request).await?;
        let issuer = harness.add_issuer(&asked.id).await?;
        Ok(json_response(StatusCode::CREATED, &json!({"id": asked.id, "issuer": issuer})))
    };
    answer(added.await)
}

async fn list_faults(State(harness): State<Harness>) -> Response {
    answer(harness.with_faults(|faults| Ok(ok(&faults.shown()))))
}

async fn add_fault(State(harness): State<Harness>, request: Request) -> Response {
    let added = async {
        let mut ask: faults::Ask = read(request).await?;
        let app = harness.app(ask.issuer.as_deref()).await?;
        // It is one issuer's past.
        if ask.is_stale() {
            ask.issuer.get_or_insert_with(|| app.issuer.id.to_string());
        }
        let present = (ask.kind()? == Kind::Jwks && ask.is_stale())
            .then(|| serde_json::from_str(&app.issuer.ring.jwks))
            .transpose()
            .map_err(|e| Wrong::fault(&e))?;
        let fault = ask.read(present)?;
        harness.with_faults(|faults| {
            faults.add(fault)?;
            Ok(json_response(StatusCode::CREATED, &faults.shown()))
        })
    };
    answer(added.await)
}

async fn clear_faults(State(harness): State<Harness>) -> Response {
    answer(harness.with_faults(|faults| {
        faults.clear();
        Ok(ok(&faults.shown()))
    }))
}

impl Harness {
    fn with_faults<T>(&self, work: impl FnOnce(&mut faults::Faults) -> Result<T, Wrong>) -> Result<T, Wrong> {
        work(&mut *self.0.faults.lock().map_err(|e| Wrong::fault(&e))?)
    }

    fn shown_time(&self) -> Value {
        let now = self.0.host.now();
        json!({"now": now, "at": now.rfc3339()})
    }
}

/// One of them, or nothing, which lets the clock be the machine's again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shift {
    advance: Option<i64>,
    now: Option<i64>,
}

async fn time(State(harness): State<Harness>) -> Response {
    ok(&harness.shown_time())
}

async fn shift(State(harness): State<Harness>, request: Request) -> Response {
    let moved = async {
        let clock = &harness.0.host.clock;
        let by = match read(request).await? {
            Shift { advance: Some(_), now: Some(_) } => return Err(Wrong::request("advance or now, not both")),
            Shift { advance: Some(by), now: None } => by,
            Shift { advance: None, now: Some(now) } => now.saturating_sub(clock.now().0),
            Shift { advance: None, now: None } => {
                clock.reset();
                0
            }
        };
        if by.checked_abs().is_none_or(|by| by > MAX_SHIFT) || clock.now().0.saturating_add(by) <= 0 {
            return Err(Wrong::request("that time is before 1970, or centuries away"));
        }
        clock.advance(Seconds(by));
        Ok(ok(&harness.shown_time()))
    };
    answer(moved.await)
}

async fn list_flaws() -> Response {
    ok(&json!({"items": flaws::all()}))
}

async fn ledger(State(harness): State<Harness>) -> Response {
    let entries = harness.0.ledger.lock().map(|ledger| ledger.entries());
    answer(entries.map(|entries| ok(&json!({"items": entries}))).map_err(|e| Wrong::fault(&e)))
}

async fn clear_ledger(State(harness): State<Harness>) -> Response {
    if let Ok(mut ledger) = harness.0.ledger.lock() {
        ledger.clear();
    }
    json_response(StatusCode::OK, &json!({"items": []}))
}
