//! `POST /revoke` (RFC 7009): a client gives a token back.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::form::Pairs;
use super::{credential, reply};
use crate::error::Error;
use crate::flow::client_auth::authenticate;
use crate::flow::issued;
use crate::host::App;

/// The client first. What kind of token it is we know ourselves: `token_type_hint` is not needed (RFC 7009 section 2.1).
pub(super) async fn post(app: App, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let form = Pairs::read(&headers, body).await?;
    let client = authenticate(&app, credential::find(&headers, &form)?).await?.spend(&app).await?;
    form.once(&[])?;
    issued::revoke(&app, &client, &form.required("token")?).await?;
    Ok(reply::private_json(StatusCode::OK, &json!({})))
}
