//! `/api/v1/services`: what is known of relying services, for the issuer's administrator.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{
    List, Refused, StateItem, added, admin_only, and_one, cursor, disabled, json, known, limit, members, word_of,
};
use crate::domain::administered::AdministeredService;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::Audience;
use crate::domain::notice::Format;
use crate::domain::refusal::Refusal;
use crate::domain::service_policy::NoticeEndpoint;
use crate::domain::time::Timestamp;
use crate::domain::understood::{Dialect, Takes, Understood, Verdict};
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::register;
use crate::flow::services::{self, Record};
use crate::host::App;

/// Most bytes of a body.
const MAX_BODY: usize = 8 * 1024;

/// Fetches what a service publishes, and says what is understood of it, field by field, and why. Nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/services/discover", tag = "services", operation_id = "discover_service",
    request_body = Discover,
    responses((status = 200, body = UnderstoodItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn discover(
    app: App,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let Discover { url } = json(&headers, body, MAX_BODY).await?;
    let asked = Audience::parse(&url).map_err(|problem| Refusal::AudienceMalformed(problem.0))?;
    let understood = services::discover(&app, &asked).await?;
    Ok(private_json(StatusCode::OK, &understood))
}

/// The services of the issuer: those that are declared, and those that agents have named.
#[utoipa::path(
    get, path = "/api/v1/services", tag = "services", operation_id = "list_services",
    params(
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<ServiceItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Error> {
    admin_only(&caller)?;
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["cursor", "limit"])?;
    let (cursor, limit) = (cursor(&query)?, limit(&query)?);
    let rows = services::list(&app, cursor.as_deref(), and_one(limit)).await?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].service.id.as_deref().unwrap_or_default());
    let items: Vec<_> = rows.iter().take(limit).map(ServiceItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// Adds a service, which an administrator answers for from then on, whatever it says of itself.
#[utoipa::path(
    post, path = "/api/v1/services", tag = "services", operation_id = "add_service",
    request_body = NewService,
    responses((status = 201, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn post(app: App, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    admin_only(&caller)?;
    let record = register::add_service(&app, members(&headers, body).await?).await?;
    Ok(added(&app, "services", record.known.service.id.as_deref().unwrap_or_default(), &ServiceRecord::of(&record)))
}

/// One service, with what was understood of it.
#[utoipa::path(
    get, path = "/api/v1/services/{id}", tag = "services", operation_id = "get_service",
    params(("id" = String, Path)),
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(shown(&services::find(&app, &services::audience(&app, &id).await?).await?))
}

/// Looks at a service again, now, and lets it be what it says. Where users were shown something else, they are asked again.
#[utoipa::path(
    post, path = "/api/v1/services/{id}/refresh", tag = "services", operation_id = "refresh_service",
    params(("id" = String, Path)),
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn refresh(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(shown(&services::refresh(&app, &services::audience(&app, &id).await?).await?))
}

/// Answers for a service as it was discovered: from now on nothing that it says of itself changes anything.
#[utoipa::path(
    post, path = "/api/v1/services/{id}/pin", tag = "services", operation_id = "pin_service",
    params(("id" = String, Path)),
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn pin(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(shown(&services::pin(&app, &services::audience(&app, &id).await?).await?))
}

/// Lets a pinned service speak for itself again.
#[utoipa::path(
    delete, path = "/api/v1/services/{id}/pin", tag = "services", operation_id = "unpin_service",
    params(("id" = String, Path)),
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn unpin(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(shown(&services::unpin(&app, &services::audience(&app, &id).await?).await?))
}

/// Changes what it names and nothing else, of a service that was added; null takes something away. Any service is disabled and enabled. Nobody is vouched for at a disabled one, and what users agreed to there is withdrawn; that
/// holds until it is enabled again, whatever the configuration declares, and what was withdrawn does not come back.
#[utoipa::path(
    patch, path = "/api/v1/services/{id}", tag = "services", operation_id = "change_service",
    params(("id" = String, Path)),
    request_body = ServiceChange,
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn patch(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let audience = services::audience(&app, &id).await?;
    Ok(shown(&register::change_service(&app, &audience, members(&headers, body).await?).await?))
}

/// Disables a service. What is on record of it is kept, and it can be enabled again.
#[utoipa::path(
    delete, path = "/api/v1/services/{id}", tag = "services", operation_id = "disable_service",
    params(("id" = String, Path)),
    responses((status = 200, body = ServiceRecord), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let audience = services::audience(&app, &id).await?;
    Ok(shown(&register::change_service(&app, &audience, disabled()).await?))
}

fn shown(record: &Record) -> Response {
    private_json(StatusCode::OK, &ServiceRecord::of(record))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
struct ServiceItem<'a> {
    id: &'a str,
    audience: &'a str,
    /// Whose word it is: `declared` (the configuration's), `added` (an administrator's), `pinned` (an operator's), `discovered` (its own), `unknown` (nobody's).
    source: &'static str,
    name: Option<&'a str>,
    takes_id_jags: bool,
    /// What leaves about a user.
    claims: Vec<&'static str>,
    /// Its resources; none are listed: those at its own origin.
    resources: &'a [String],
    scopes: &'a [String],
    /// Where it is told of withdrawals.
    notices: Vec<NoticeItem<'a>>,
    #[serde(flatten)]
    state: StateItem,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NoticeEndpoint)]
struct NoticeItem<'a> {
    #[schema(schema_with = word_of::<Format>)]
    format: &'static str,
    endpoint: &'a str,
    /// What the event is called there, if not as auth.md calls it.
    event: Option<&'a str>,
    /// Whether a 2xx proves nothing, since the endpoint may be for something else.
    unproven: bool,
}

#[derive(Serialize, ToSchema)]
struct ServiceRecord<'a> {
    #[serde(flatten)]
    service: ServiceItem<'a>,
    /// When somebody looked at what it publishes.
    #[schema(format = DateTime)]
    looked_at: Option<String>,
    /// Until when that may be taken for what it says.
    #[schema(format = DateTime)]
    fresh_until: Option<String>,
    /// Since when looks find nothing that proves anything; what was understood before stands.
    #[schema(format = DateTime)]
    missed_at: Option<String>,
    #[schema(value_type = Option<UnderstoodItem>)]
    understood: Option<&'a Understood>,
}

impl<'a> ServiceRecord<'a> {
    fn of(record: &'a Record) -> Self {
        let look = record.look.as_ref();
        Self {
            service: ServiceItem::of(&record.known),
            looked_at: look.map(|look| look.looked_at.rfc3339()),
            fresh_until: look.map(|look| look.fresh_until.rfc3339()),
            missed_at: look.and_then(|look| look.missed_at).map(Timestamp::rfc3339),
            understood: look.map(|look| &look.understood),
        }
    }
}

/// What an administrator says of a service.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct NewService {
    /// Its issuer identifier, byte for byte.
    audience: String,
    name: Option<String>,
    /// None: those at its own origin.
    resources: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    /// A client's id at the service, by its id here.
    client_ids: Option<BTreeMap<String, String>>,
    /// What leaves about a user.
    claims: Option<Vec<String>>,
    /// Seconds: an older sign-in is refused.
    max_auth_age: Option<i64>,
    /// Where it is told of withdrawals. One that takes `logout+jwt` or `secevent+jwt` speaks auth.md.
    notices: Option<Vec<NewNotice>>,
    /// `ES256` unless said, or `RS256`.
    signing_alg: Option<String>,
}

/// The same, but for the audience, and whether the service is disabled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct ServiceChange {
    name: Option<String>,
    resources: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    client_ids: Option<BTreeMap<String, String>>,
    claims: Option<Vec<String>>,
    max_auth_age: Option<i64>,
    notices: Option<Vec<NewNotice>>,
    signing_alg: Option<String>,
    disabled: Option<bool>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct NewNotice {
    #[schema(schema_with = word_of::<Format>)]
    format: String,
    endpoint: String,
    event: Option<String>,
    unproven: Option<bool>,
}

impl<'a> ServiceItem<'a> {
    fn of(known: &'a AdministeredService) -> Self {
        let AdministeredService { service, state } = known;
        let policy = &service.policy;
        let notice = |n: &'a NoticeEndpoint| NoticeItem {
            format: n.format.as_str(),
            endpoint: &n.endpoint,
            event: n.event.as_deref(),
            unproven: n.unproven,
        };
        Self {
            id: service.id.as_deref().unwrap_or_default(),
            audience: service.audience.as_str(),
            source: service.source.name(),
            name: policy.name.as_ref().map(DisplayName::as_str),
            takes_id_jags: policy.takes_id_jag,
            claims: policy.claims.iter().map(|claim| claim.as_str()).collect(),
            resources: &policy.resources,
            scopes: &policy.scopes,
            notices: policy.notices.iter().map(notice).collect(),
            state: StateItem::of(state),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Discover {
    /// The service's issuer identifier, or one of its resources.
    url: String,
}

/// What is understood of a service, each field with its source and reason.
#[derive(ToSchema)]
#[schema(as = Understood)]
#[expect(dead_code, reason = "stands for its type, which `domain` describes to nobody")]
pub(super) struct UnderstoodItem {
    /// What was looked at, as it was asked for.
    asked: String,
    /// The service's issuer identifier as it spells it; `null` where no document proves one.
    issuer: Option<String>,
    /// The documents that were looked for.
    documents: Vec<ReadingItem>,
    dialect: SaidDialect,
    id_jag: SaidTakes,
    /// Where assertions go.
    endpoint: SaidText,
    /// Where it is told of withdrawals.
    notices: Vec<SaidChannel>,
    resources: SaidList,
    scopes: SaidList,
    identity_types: SaidList,
    credential_types: SaidList,
    /// What it says that it refuses.
    refuses: SaidList,
    /// What it calls itself.
    name: SaidText,
    /// What it takes in the place of ID-JAGs; absent where it takes them.
    #[schema(required = false)]
    takes_instead: Option<String>,
    /// What was passed over, and what is odd.
    remarks: Vec<RemarkItem>,
}

#[derive(ToSchema)]
#[schema(as = Reading)]
#[expect(dead_code, reason = "stands for its type")]
struct ReadingItem {
    document: String,
    #[schema(schema_with = word_of::<Verdict>)]
    verdict: String,
    why: String,
}

#[derive(ToSchema)]
#[schema(as = Remark)]
#[expect(dead_code, reason = "stands for its type")]
struct RemarkItem {
    document: String,
    member: String,
    why: String,
}

#[derive(ToSchema)]
#[schema(as = Channel)]
#[expect(dead_code, reason = "stands for its type")]
struct ChannelItem {
    #[schema(schema_with = word_of::<Format>)]
    format: String,
    endpoint: String,
    /// What the withdrawal is called there; absent where that is what auth.md calls it.
    #[schema(required = false)]
    event: Option<String>,
    /// Whether the service names the withdrawal among the events it takes; where it does not, its 200 proves nothing.
    named: bool,
}

/// Something understood, where it is said, and why it is understood so.
macro_rules! said {
    ($($name:ident($type:ty $(, $words:ty)?);)+) => {$(
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "stands for its type")]
        struct $name {
            $(#[schema(schema_with = word_of::<$words>)])?
            value: $type,
            /// Absent where no document says it.
            #[schema(required = false)]
            document: Option<String>,
            #[schema(required = false)]
            member: Option<String>,
            why: String,
        }
    )+};
}
said! {
    SaidDialect(String, Dialect);
    SaidTakes(String, Takes);
    SaidText(Option<String>);
    SaidList(Vec<String>);
    SaidChannel(ChannelItem);
}
