//! `/api/v1/users`: who an issuer vouches for, for its administrator.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{List, Refused, StateItem, added, admin_only, and_one, disabled, known, limit, members};
use crate::domain::administered::AdministeredUser;
use crate::domain::ids::Subject;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::{administer, register};
use crate::host::App;

/// The users of the issuer, by `sub`.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users", operation_id = "list_users",
    params(
        ("email" = Option<String>, Query, description = "Only the one with this e-mail address"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<UserItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Error> {
    admin_only(&caller)?;
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["email", "cursor", "limit"])?;
    let (cursor, limit) = (query.single("cursor")?, limit(&query)?);
    let rows = match query.single("email")? {
        None => administer::users(&app, cursor.as_deref(), and_one(limit)).await?,
        Some(email) => administer::user_by_email(&app, &email).await?.into_iter().collect(),
    };
    let next = (rows.len() > limit).then(|| rows[limit - 1].account.sub.as_str());
    let items: Vec<_> = rows.iter().take(limit).map(UserItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// Adds a user. With neither `password` nor `password_hash` nobody signs in as them by a password.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "add_user",
    request_body = NewUser,
    responses((status = 201, body = UserItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn post(app: App, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    admin_only(&caller)?;
    let user = register::add_user(&app, members(&headers, body).await?).await?;
    Ok(added(&app, "users", user.account.sub.as_str(), &UserItem::of(&user)))
}

/// One user.
#[utoipa::path(
    get, path = "/api/v1/users/{sub}", tag = "users", operation_id = "get_user",
    params(("sub" = String, Path)),
    responses((status = 200, body = UserItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(app: App, caller: Caller, Segment(sub): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let user = administer::user(&app, &named(sub)?).await?;
    Ok(private_json(StatusCode::OK, &UserItem::of(&user)))
}

/// Changes what it names and nothing else; null takes something away. What the configuration declares is changed there, disabling aside. Another
/// password signs the user out everywhere. A disabled one is signed out and vouched for no more, and what they agreed to is withdrawn; that holds until
/// they are enabled again, whatever the configuration declares, and what was withdrawn does not come back.
#[utoipa::path(
    patch, path = "/api/v1/users/{sub}", tag = "users", operation_id = "change_user",
    params(("sub" = String, Path)),
    request_body = UserChange,
    responses((status = 200, body = UserItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn patch(
    app: App,
    caller: Caller,
    Segment(sub): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let user = register::change_user(&app, &named(sub)?, members(&headers, body).await?).await?;
    Ok(private_json(StatusCode::OK, &UserItem::of(&user)))
}

/// Disables a user. What is on record of them is kept, and they can be enabled again.
#[utoipa::path(
    delete, path = "/api/v1/users/{sub}", tag = "users", operation_id = "disable_user",
    params(("sub" = String, Path)),
    responses((status = 200, body = UserItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(app: App, caller: Caller, Segment(sub): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let user = register::change_user(&app, &named(sub)?, disabled()).await?;
    Ok(private_json(StatusCode::OK, &UserItem::of(&user)))
}

fn named(sub: String) -> Result<Subject, Refusal> {
    Subject::try_from(sub).map_err(|_| Refusal::NotFound)
}

/// What is known of a user (OpenID Connect Core section 5.1), as it is given.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct NewUser {
    email: String,
    #[schema(required = false)]
    email_verified: bool,
    name: Option<String>,
    /// In E.164 form.
    phone_number: Option<String>,
    #[schema(required = false)]
    phone_number_verified: bool,
    /// Hashed at once, and kept nowhere else.
    #[schema(write_only)]
    password: Option<String>,
    /// In its place: argon2id in PHC string form, as `avouch user hash-password` prints it.
    #[schema(write_only)]
    password_hash: Option<String>,
}

/// The same, but for the e-mail address, and whether the user is disabled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct UserChange {
    #[schema(required = false)]
    email_verified: bool,
    name: Option<String>,
    phone_number: Option<String>,
    #[schema(required = false)]
    phone_number_verified: bool,
    #[schema(write_only)]
    password: Option<String>,
    #[schema(write_only)]
    password_hash: Option<String>,
    #[schema(required = false)]
    disabled: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserItem<'a> {
    sub: &'a str,
    email: &'a str,
    email_verified: bool,
    name: Option<&'a str>,
    phone_number: Option<&'a str>,
    phone_number_verified: bool,
    #[serde(flatten)]
    state: StateItem,
}

impl<'a> UserItem<'a> {
    fn of(user: &'a AdministeredUser) -> Self {
        let account = &user.account;
        Self {
            sub: account.sub.as_str(),
            email: &account.email,
            email_verified: account.email_verified,
            name: account.name.as_deref(),
            phone_number: account.phone_number.as_deref(),
            phone_number_verified: account.phone_verified,
            state: StateItem::of(&user.state),
        }
    }
}
