//! `/userinfo` (OpenID Connect Core section 5.3).

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::extract::bearer_token;
use super::form::Pairs;
use super::reply;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::issued;
use crate::host::App;

pub(super) async fn get(app: App, headers: HeaderMap) -> Result<Response, Error> {
    answer(&app, bearer_token(&headers)?).await
}

/// With the token in the header, or in a form (RFC 6750 section 2.2), and not in both.
pub(super) async fn post(app: App, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return answer(&app, bearer_token(&headers)?).await;
    }
    let form = Pairs::read(&headers, body).await?;
    form.once(&[])?;
    match (form.single("access_token")?, headers.contains_key(header::AUTHORIZATION)) {
        (Some(_), true) => Err(Refusal::Twice("access_token".into()).into()),
        (Some(token), false) => answer(&app, &token).await,
        (None, _) => answer(&app, bearer_token(&headers)?).await,
    }
}

async fn answer(app: &App, access_token: &str) -> Result<Response, Error> {
    Ok(reply::private_json(StatusCode::OK, &issued::user_info(app, access_token).await?))
}
