//! `POST /introspect` (RFC 7662): a client asks about its own tokens.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::form::Pairs;
use super::{credential, reply};
use crate::domain::client_metadata::AuthMethod;
use crate::domain::ids::{ClientId, Subject};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::client_auth::authenticate;
use crate::flow::issued;
use crate::host::App;

/// RFC 7662 section 2.2. Of a token that is not good, or not the client's, nothing else is said.
#[derive(Default, Serialize)]
struct Answer<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

pub(super) async fn post(app: App, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let form = Pairs::read(&headers, body).await?;
    let client = authenticate(&app, credential::find(&headers, &form)?).await?.spend(&app).await?;
    // Who cannot prove who they are could be anybody, scanning for tokens (RFC 7662 section 2.1).
    if client.metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(Refusal::ClientUnauthenticated.into());
    }
    form.once(&[])?;
    let active = issued::introspect(&app, &client, &form.required("token")?).await?;
    let answer = active.map_or_else(Answer::default, |active| Answer {
        active: true,
        scope: Some(active.scope.to_string()).filter(|scope| !scope.is_empty()),
        client_id: Some(&client.client_id),
        token_type: active.is_access_token.then_some("Bearer"),
        exp: Some(active.expires_at),
        iat: active.issued_at,
        sub: Some(active.sub),
        iss: Some(app.issuer.url.as_str()),
    });
    Ok(reply::private_json(StatusCode::OK, &answer))
}
