//! `/api/v1/keys`: the issuer's signing keys, for its administrator.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::reply::private_json;
use super::{List, Refused, admin_only, json, json_or_nothing, word_of};
use crate::domain::ids::Kid;
use crate::domain::refusal::Refusal;
use crate::domain::rotation::{KeyState, SigningAlg, Step};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::compromise::{self, Order, Report};
use crate::flow::fetches;
use crate::flow::rotate::{self, Listed, Reason};
use crate::host::App;

/// Most bytes of a body.
const MAX_BODY: usize = 8 * 1024;

/// The keys of the issuer: those at work first, then those that have ended, the newest first.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys",
    responses((status = 200, body = inline(List<KeyItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller) -> Result<Response, Error> {
    admin_only(&caller)?;
    let items = items(&app).await?;
    Ok(private_json(StatusCode::OK, &List { items, next: None }))
}

/// Who has fetched the issuer's keys and its Client ID Metadata Document in the last week, as told apart by address and user agent.
#[utoipa::path(
    get, path = "/api/v1/keys/fetchers", tag = "keys", operation_id = "list_key_fetchers",
    responses((status = 200, body = inline(List<FetcherItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn fetchers(app: App, caller: Caller) -> Result<Response, Error> {
    admin_only(&caller)?;
    let fetchers = fetches::lately(&app.host, &app.issuer.id).await?;
    let mut services = fetches::services(&app.host, &app.issuer.id, &fetchers).await?;
    let items = fetchers.0.into_iter().map(|(fetcher, seen)| FetcherItem {
        services: services.remove(&fetcher).unwrap_or_default(),
        address: fetcher.address.into(),
        user_agent: fetcher.user_agent.into(),
        fetches: seen.count,
        last_at: seen.last_at.rfc3339(),
        kids: seen.kids.iter().map(|kid| kid.as_str().to_owned()).collect(),
        client_document: seen.client_document,
    });
    Ok(private_json(StatusCode::OK, &List { items: items.collect(), next: None }))
}

/// Publishes a new key, which does not sign yet.
#[utoipa::path(
    post, path = "/api/v1/keys/prepare", tag = "keys", operation_id = "prepare_key",
    request_body(content = Option<Prepare>),
    responses((status = 201, body = KeyItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn prepare(
    app: App,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let Prepare { alg } = json_or_nothing(&headers, body, MAX_BODY).await?;
    let kid = rotate::prepare(&app.host, &app.issuer.id, alg.unwrap_or(SigningAlg::Es256)).await?;
    Ok(private_json(StatusCode::CREATED, &item(&app, &kid).await?))
}

/// Lets a pending key sign, and the one before retire. Before everybody can have seen it that takes `force` and a `reason`.
#[utoipa::path(
    post, path = "/api/v1/keys/{kid}/activate", tag = "keys", operation_id = "activate_key",
    params(("kid" = String, Path)), request_body(content = Option<Move>),
    responses((status = 200, body = KeyItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn activate(
    app: App,
    caller: Caller,
    Segment(kid): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let force = json_or_nothing::<Move>(&headers, body, MAX_BODY).await?.force()?;
    let kid = Kid::from(kid);
    rotate::activate(&app.host, &app.issuer.id, &kid, force.as_ref()).await?;
    Ok(private_json(StatusCode::OK, &item(&app, &kid).await?))
}

/// Takes a pending or retiring key out of the key set. While something that it signed may be alive that takes `force` and a `reason`.
#[utoipa::path(
    post, path = "/api/v1/keys/{kid}/retire", tag = "keys", operation_id = "retire_key",
    params(("kid" = String, Path)), request_body(content = Option<Move>),
    responses((status = 200, body = KeyItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn retire(
    app: App,
    caller: Caller,
    Segment(kid): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let force = json_or_nothing::<Move>(&headers, body, MAX_BODY).await?.force()?;
    let kid = Kid::from(kid);
    rotate::retire(&app.host, &app.issuer.id, &kid, force.as_ref()).await?;
    Ok(private_json(StatusCode::OK, &item(&app, &kid).await?))
}

/// Revokes a key that somebody else may have: it signs nowhere any more, leaves the key set at once, and another one takes over. Says which
/// assertions by it were alive.
#[utoipa::path(
    post, path = "/api/v1/keys/{kid}/revoke", tag = "keys", operation_id = "revoke_key",
    params(("kid" = String, Path)), request_body = Revoke,
    responses((status = 200, body = inline(RevocationReport)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn revoke(
    app: App,
    caller: Caller,
    Segment(kid): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let Revoke { reason, dry_run } = json(&headers, body, MAX_BODY).await?;
    let reason = Reason::parse(&reason).map_err(|problem| Refusal::Malformed("reason", problem))?;
    let order = Order { kid: Kid::from(kid), reason, withdraw_since: None, dry_run };
    let report = compromise::run(&app.host, &app.issuer.id, &order, |_, _| {}).await?;
    Ok(private_json(StatusCode::OK, &RevocationReport::of(&report)))
}

async fn items(app: &App) -> Result<Vec<KeyItem>, Error> {
    Ok(rotate::list(&app.host, &app.issuer.id).await?.into_iter().map(KeyItem::of).collect())
}

async fn item(app: &App, kid: &Kid) -> Result<KeyItem, Error> {
    let all = rotate::list(&app.host, &app.issuer.id).await?;
    all.into_iter().find(|listed| listed.key.kid == *kid).map(KeyItem::of).ok_or(Refusal::NotFound.into())
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = PrepareKey)]
#[serde(deny_unknown_fields)]
struct Prepare {
    /// `ES256` unless said.
    #[serde(default)]
    #[schema(schema_with = word_of::<SigningAlg>)]
    alg: Option<SigningAlg>,
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = MoveKey)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Whether not to wait for the guard.
    #[serde(default)]
    force: bool,
    /// Why; needed with `force`. It stands in the journal.
    #[serde(default)]
    reason: Option<String>,
}

impl Move {
    fn force(self) -> Result<Option<Reason>, Refusal> {
        let reason = self.reason.map(|text| Reason::parse(&text)).transpose();
        let reason = reason.map_err(|problem| Refusal::Malformed("reason", problem))?;
        match (self.force, reason) {
            (true, None) => Err(Refusal::Missing("reason")),
            (true, reason) => Ok(reason),
            (false, Some(_)) => Err(Refusal::Malformed("reason", "is for force only")),
            (false, None) => Ok(None),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RevokeKey)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// Why. It stands in the journal and in the report.
    reason: String,
    /// Whether to say what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, ToSchema)]
struct RevocationReport<'a> {
    dry_run: bool,
    kid: &'a str,
    #[schema(schema_with = word_of::<KeyState>)]
    state_before: KeyState,
    #[schema(format = DateTime)]
    revoked_at: &'a str,
    reason: &'a str,
    /// The key that signs now; `null` where the revoked one did not sign, or in a dry run that would make one.
    successor: Option<&'a str>,
    /// How many assertions by it were alive at that time.
    alive: usize,
    /// The services that they are for.
    services: &'a [String],
    /// All of it for people, in Markdown.
    markdown: String,
}

impl<'a> RevocationReport<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            dry_run: report.dry_run,
            kid: report.kid.as_str(),
            state_before: report.state_before,
            revoked_at: &report.revoked_at,
            reason: &report.reason,
            successor: report.successor.as_ref().and_then(|successor| successor.kid.as_ref()).map(Kid::as_str),
            alive: report.alive,
            services: &report.services,
            markdown: report.markdown(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
struct KeyItem {
    kid: String,
    #[schema(schema_with = word_of::<SigningAlg>)]
    alg: SigningAlg,
    #[schema(schema_with = word_of::<KeyState>)]
    state: KeyState,
    /// Since when it is published.
    #[schema(format = DateTime)]
    created_at: String,
    /// Since when it signs or signed.
    #[schema(format = DateTime)]
    activated_at: Option<String>,
    /// When it signed for the last time.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// When it was removed or revoked.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why, if somebody said so.
    reason: Option<String>,
    /// From when on a pending key may be activated, or a retiring one retired, without force.
    #[schema(format = DateTime)]
    allowed_at: Option<String>,
    /// What happens by itself: `prepare` or `activate` its successor, or `remove` it.
    #[schema(schema_with = word_of::<Step>)]
    next: Option<Step>,
    /// When.
    #[schema(format = DateTime)]
    next_at: Option<String>,
    /// Who has it, as far as anybody can tell.
    seen_by: SeenBy,
}

#[derive(Serialize, ToSchema)]
struct SeenBy {
    /// How many have fetched a key set with this key in the last week.
    fetchers: usize,
    /// How many have fetched a key set in the last week.
    of: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeyFetcher)]
struct FetcherItem {
    /// Its address; of IPv6 the network of 64 bits.
    address: String,
    /// What it calls itself.
    user_agent: String,
    /// The audiences of known services whose host has that address now.
    services: Vec<String>,
    /// How often it fetched the key set, or the document about this issuer if that is more.
    fetches: i64,
    #[schema(format = DateTime)]
    last_at: String,
    /// The keys that were in what it fetched.
    kids: Vec<String>,
    /// Whether it fetched the Client ID Metadata Document.
    client_document: bool,
}

impl KeyItem {
    fn of(Listed { key, allowed_at, next, seen_by: (fetchers, of) }: Listed) -> Self {
        Self {
            kid: key.kid.as_str().to_owned(),
            alg: key.alg,
            state: key.state,
            created_at: key.created_at.rfc3339(),
            activated_at: key.activated_at.map(Timestamp::rfc3339),
            retired_at: key.retired_at.map(Timestamp::rfc3339),
            ended_at: key.ended_at.map(Timestamp::rfc3339),
            reason: key.reason,
            allowed_at: allowed_at.map(Timestamp::rfc3339),
            next: next.map(|(step, _)| step),
            next_at: next.map(|(_, at)| at.rfc3339()),
            seen_by: SeenBy { fetchers, of },
        }
    }
}
