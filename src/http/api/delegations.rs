//! `/api/v1/delegations`: list, look, withdraw.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::extract::{Segment, Segments};
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{List, Refused, and_one, cursor, known, limit, word_of};
use crate::domain::consent::{Consent, Mode};
use crate::domain::delegation::{Delegation, Filter, Selection, Status};
use crate::domain::ids::{ClientId, Subject};
use crate::domain::notice::{Delivery, DeliveryState, Format, Round};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::connections::{self, Connection, connection};
use crate::flow::withdraw::{withdraw, withdraw_client};
use crate::flow::withdraw_many::{self, Done};
use crate::host::App;

/// The delegations that the caller may see, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/delegations", tag = "delegations", operation_id = "list_delegations",
    params(
        ("sub" = Option<String>, Query, description = "Only this user's"),
        ("aud" = Option<String>, Query, description = "Only those for this service"),
        ("client_id" = Option<String>, Query, description = "Only those that this client holds a consent under"),
        ("status" = Option<String>, Query, description = "`active`, `withdrawing` or `withdrawn`"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<DelegationItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["sub", "aud", "client_id", "status", "cursor", "limit"])?;
    let (sub, aud, client_id) = (query.single("sub")?, query.single("aud")?, query.single("client_id")?);
    let sub = sub.map(Subject::try_from).transpose().map_err(Refusal::BadQuery)?;
    let client_id = client_id.map(ClientId::try_from).transpose().map_err(Refusal::BadQuery)?;
    let status = match query.single("status")? {
        None => None,
        Some(name) => Some(
            Status::parse(&name).ok_or(Refusal::BadQuery("status must be active, withdrawing or withdrawn".into()))?,
        ),
    };
    let (cursor, limit) = (cursor(&query)?, limit(&query)?);
    let filter = Filter {
        account_id: None,
        sub: sub.as_ref(),
        aud: aud.as_deref(),
        client_id: client_id.as_ref(),
        status,
        after: cursor.as_deref(),
        limit: and_one(limit),
    };
    let rows = connections::list(&app, &caller, filter).await?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].id.as_str());
    let items = rows.iter().take(limit).map(DelegationItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// One delegation, with its consents and deliveries.
#[utoipa::path(
    get, path = "/api/v1/delegations/{id}", tag = "delegations", operation_id = "get_delegation",
    params(("id" = String, Path)),
    responses((status = 200, body = WholeDelegation), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    let found = connection(&app, &caller, &id).await?;
    Ok(private_json(StatusCode::OK, &WholeDelegation::of(&found)))
}

/// Withdraws a delegation. Nothing is minted under it from the answer on; the service is told afterwards.
#[utoipa::path(
    delete, path = "/api/v1/delegations/{id}", tag = "delegations", operation_id = "withdraw_delegation",
    params(("id" = String, Path)),
    responses((status = 202, body = Withdrawn), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    let (delegation, deliveries) = withdraw(&app, &caller, &id).await?;
    let deliveries = deliveries.iter().map(DeliveryItem::of).collect();
    Ok(private_json(StatusCode::ACCEPTED, &Withdrawn { delegation: DelegationItem::of(&delegation), deliveries }))
}

/// Ends what one client has under a delegation, and the delegation where nothing else stands under it. The notice names no client: the
/// others get new credentials.
#[utoipa::path(
    delete, path = "/api/v1/delegations/{id}/consents/{client_id}", tag = "delegations", operation_id = "withdraw_consents",
    params(("id" = String, Path), ("client_id" = String, Path, description = "Percent-encoded, where it is a URL")),
    responses((status = 202, body = Withdrawn), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete_consents(
    app: App,
    caller: Caller,
    Segments(id, client_id): Segments,
) -> Result<Response, Error> {
    let client_id = ClientId::try_from(client_id).map_err(|_| Refusal::NotFound)?;
    let (delegation, deliveries) = withdraw_client(&app, &caller, &id, client_id).await?;
    let deliveries = deliveries.iter().map(DeliveryItem::of).collect();
    Ok(private_json(StatusCode::ACCEPTED, &Withdrawn { delegation: DelegationItem::of(&delegation), deliveries }))
}

/// Withdraws many delegations: those that all filters hold for. One call withdraws 1,000 of them at most and says how many are left; then,
/// or when a call was cut short, it is repeated.
#[utoipa::path(
    delete, path = "/api/v1/delegations", tag = "delegations", operation_id = "withdraw_delegations",
    params(
        ("sub" = Option<String>, Query, description = "Those of this user"),
        ("aud" = Option<String>, Query, description = "Those for this service"),
        ("client_id" = Option<String>, Query, description = "Only this client's consents, and delegations where nothing else stands"),
        ("all" = Option<bool>, Query, description = "`true`, in the place of a filter: all of the issuer, or of the user who calls"),
        ("dry_run" = Option<bool>, Query, description = "`true`: only say how many there are"),
    ),
    responses((status = 202, body = ManyWithdrawn), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete_many(
    app: App,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let query = query.unwrap_or_default();
    // Left out, as elsewhere, an empty one would withdraw more than was meant.
    if url::form_urlencoded::parse(query.as_bytes()).any(|(_, value)| value.is_empty()) {
        return Err(Refusal::BadQuery("a filter has no value".into()).into());
    }
    let query = Pairs::parse(query.as_bytes());
    known(&query, &["sub", "aud", "client_id", "all", "dry_run"])?;
    let sub = query.single("sub")?.map(Subject::try_from).transpose().map_err(Refusal::BadQuery)?;
    let client_id = query.single("client_id")?.map(ClientId::try_from).transpose().map_err(Refusal::BadQuery)?;
    let selection = Selection { sub, client_id, aud: query.single("aud")?, ..Selection::default() };
    let (all, dry_run) = (flag(&query, "all")?, flag(&query, "dry_run")?);
    if all != (selection == Selection::default()) {
        return Err(Refusal::BadQuery("name sub, aud or client_id, or all=true in their place".into()).into());
    }
    let Done { withdrawn, left, failed } = withdraw_many::for_caller(&app, &caller, selection, dry_run).await?;
    Ok(private_json(StatusCode::ACCEPTED, &ManyWithdrawn { dry_run, withdrawn, left, failed }))
}

fn flag(query: &Pairs, name: &str) -> Result<bool, Refusal> {
    match query.single(name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::BadQuery(format!("{name} must be true or false"))),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = WithdrawnDelegations)]
struct ManyWithdrawn {
    dry_run: bool,
    /// How many delegations this call ended something under.
    withdrawn: u64,
    /// How many are left to be withdrawn.
    left: u64,
    /// How many of those this call tried in vain; the log says what is wrong with each.
    failed: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Delegation)]
struct DelegationItem<'a> {
    id: &'a str,
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    #[schema(schema_with = word_of::<Status>)]
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    mint_count: i64,
    pending_notices: i64,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DelegationWithConsents)]
struct WholeDelegation<'a> {
    #[serde(flatten)]
    delegation: DelegationItem<'a>,
    consents: Vec<ConsentItem<'a>>,
    deliveries: Vec<DeliveryItem<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WithdrawnDelegation)]
struct Withdrawn<'a> {
    #[serde(flatten)]
    delegation: DelegationItem<'a>,
    deliveries: Vec<DeliveryItem<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Consent)]
struct ConsentItem<'a> {
    id: &'a str,
    client_id: &'a str,
    /// `once`, `until`, `always` or `denied`.
    mode: &'static str,
    #[schema(format = DateTime)]
    until: Option<String>,
    scope: String,
    resource: &'a [String],
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryItem<'a> {
    id: &'a str,
    #[schema(schema_with = word_of::<Format>)]
    format: Format,
    #[schema(schema_with = word_of::<Round>)]
    round: Round,
    endpoint: &'a str,
    #[schema(schema_with = word_of::<DeliveryState>)]
    state: DeliveryState,
    attempts: i64,
    #[schema(format = DateTime)]
    due_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    last_status: Option<i64>,
    last_error: Option<&'a str>,
}

impl<'a> DelegationItem<'a> {
    fn of(delegation: &'a Delegation) -> Self {
        Self {
            id: &delegation.id,
            iss: &delegation.iss,
            sub: delegation.sub.as_str(),
            aud: &delegation.aud,
            status: delegation.status().as_str(),
            created_at: delegation.created_at.rfc3339(),
            last_used_at: delegation.last_used_at.map(Timestamp::rfc3339),
            mint_count: delegation.mint_count,
            pending_notices: delegation.pending_notices,
            ended_at: delegation.ended_at.map(Timestamp::rfc3339),
        }
    }
}

impl<'a> WholeDelegation<'a> {
    fn of(connection: &'a Connection) -> Self {
        let consents = connection.consents.iter();
        Self {
            delegation: DelegationItem::of(&connection.delegation),
            consents: consents.map(|(client, consent)| ConsentItem::of(&client.client_id, consent)).collect(),
            deliveries: connection.deliveries.iter().map(DeliveryItem::of).collect(),
        }
    }
}

impl<'a> ConsentItem<'a> {
    fn of(client_id: &'a ClientId, consent: &'a Consent) -> Self {
        Self {
            id: &consent.id,
            client_id: client_id.as_str(),
            mode: consent.mode.as_str(),
            until: if let Mode::Until(at) = consent.mode { Some(at.rfc3339()) } else { None },
            scope: consent.scope.to_string(),
            resource: &consent.resources,
            created_at: consent.created_at.rfc3339(),
            last_used_at: consent.last_used_at.map(Timestamp::rfc3339),
            ended_at: consent.ended_at.map(Timestamp::rfc3339),
        }
    }
}

impl<'a> DeliveryItem<'a> {
    pub(super) fn of(delivery: &'a Delivery) -> Self {
        Self {
            id: &delivery.id,
            format: delivery.format,
            round: delivery.round,
            endpoint: &delivery.endpoint,
            state: delivery.state,
            attempts: delivery.attempts,
            due_at: delivery.due_at.rfc3339(),
            ended_at: delivery.ended_at.map(Timestamp::rfc3339),
            last_status: delivery.last_status,
            last_error: delivery.last_error.as_deref(),
        }
    }
}
