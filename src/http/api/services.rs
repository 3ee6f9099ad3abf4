//! `/api/v1/services`: what is known of relying services, for the issuer's administrator.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::reply::private_json;
use super::{Refused, admin_only, json, word_of};
use crate::domain::ids::Audience;
use crate::domain::refusal::Refusal;
use crate::domain::understood::{Dialect, Takes, Verdict};
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::services;
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
    /// What is sent there; one that this server does not know is never used.
    format: String,
    endpoint: String,
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
