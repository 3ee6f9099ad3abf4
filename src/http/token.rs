//! `POST /token` (RFC 6749 section 3.2, RFC 8693 section 2).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::form::Pairs;
use super::{credential, error, reply};
use crate::app::App;
use crate::domain::client::{AUTHORIZATION_CODE, REFRESH_TOKEN, TOKEN_EXCHANGE};
use crate::domain::exchange::{Request, SubjectTokenType};
use crate::domain::ids::{Audience, absolute};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::error::Error;
use crate::flow::client_auth::{AuthenticatedClient, authenticate};
use crate::flow::tokens::TokenSet;
use crate::flow::{code, exchange, refresh};
use crate::secret::Secret;

const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Most resources of one request.
const MAX_RESOURCES: usize = 16;
/// Most bytes of `agent_platform` and `agent_context_id`.
const MAX_CONTEXT: usize = 256;

/// Client first, then the grant.
pub(super) async fn post(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let client = authenticate(&app, credential::find(&headers, &form)?).await?;
        grant(&app, &client, &headers, &form).await
    };
    match outcome.await {
        Ok(body) => {
            let mut response = reply::json(StatusCode::OK, &body);
            reply::no_store(&mut response);
            response
        }
        Err(error) => error::oauth(&app, error, credential::used_header(&headers)),
    }
}

async fn grant(
    app: &App,
    client: &AuthenticatedClient,
    headers: &HeaderMap,
    form: &Pairs,
) -> Result<serde_json::Value, Error> {
    // Ignoring a proof would hand out a token that its client believes to be bound (ID-JAG draft section 9.8).
    if headers.contains_key("dpop") {
        return Err(Refusal::NotSupported("DPoP").into());
    }
    form.once(&["audience", "resource"])?;
    let grant_type = form.required("grant_type")?;
    if ![AUTHORIZATION_CODE, REFRESH_TOKEN, TOKEN_EXCHANGE].contains(&grant_type.as_str()) {
        return Err(Refusal::GrantTypeUnsupported.into());
    }
    if !client.may_use(&grant_type) {
        return Err(Refusal::GrantTypeNotAllowed.into());
    }
    match grant_type.as_str() {
        AUTHORIZATION_CODE => {
            let request = code::Request {
                code: Secret::new(form.required("code")?),
                redirect_uri: form.required("redirect_uri")?,
                code_verifier: Secret::new(form.required("code_verifier")?),
            };
            Ok(tokens(code::run(app, client, &request).await?))
        }
        REFRESH_TOKEN => {
            let token = form.required("refresh_token")?;
            let scope = form.single("scope")?.map(|s| Scope::parse(&s)).transpose()?;
            Ok(tokens(refresh::run(app, client, &token, scope.as_ref()).await?))
        }
        _ => token_exchange(app, client, form).await,
    }
}

fn tokens(set: TokenSet) -> serde_json::Value {
    let mut body = json!({
        "access_token": set.access_token.expose(), "token_type": "Bearer", "expires_in": set.expires_in, "scope": set.scope.to_string(),
    });
    if let Some(token) = set.refresh_token {
        body["refresh_token"] = json!(token.expose());
    }
    if let Some(token) = set.id_token {
        body["id_token"] = json!(token.expose());
    }
    body
}

async fn token_exchange(app: &App, client: &AuthenticatedClient, form: &Pairs) -> Result<serde_json::Value, Error> {
    for unsupported in ["actor_token", "actor_token_type", "authorization_details"] {
        if form.single(unsupported)?.is_some() {
            return Err(Refusal::NotSupported(unsupported).into());
        }
    }
    if form.required("requested_token_type")? != ID_JAG {
        return Err(
            Refusal::Malformed("requested_token_type", "must be urn:ietf:params:oauth:token-type:id-jag").into()
        );
    }
    let subject_token = Secret::new(form.required("subject_token")?);
    let kind = match form.required("subject_token_type")?.as_str() {
        ID_TOKEN => SubjectTokenType::IdToken,
        ACCESS_TOKEN => SubjectTokenType::AccessToken,
        _ => return Err(Refusal::Malformed("subject_token_type", "must be that of an id_token or access_token").into()),
    };
    let request = request(form)?;
    let minted = exchange::run(app, client, &subject_token, kind, &request).await?;
    let mut body = json!({
        "issued_token_type": ID_JAG, "access_token": minted.assertion.expose(), "token_type": "N_A", "expires_in": minted.expires_in,
    });
    if let Some(scope) = minted.scope {
        body["scope"] = json!(scope);
    }
    Ok(body)
}

/// What is asked for, parsed (ID-JAG draft section 4.3; RFC 8707 section 2).
fn request(form: &Pairs) -> Result<Request, Refusal> {
    let audience = match form.many("audience").as_slice() {
        [] => return Err(Refusal::Missing("audience")),
        [one] => Audience::parse(one).map_err(|e| Refusal::AudienceMalformed(e.0))?,
        _ => return Err(Refusal::AudienceTwice),
    };
    let mut resources = form.many("resource");
    if resources.len() > MAX_RESOURCES {
        return Err(Refusal::ResourceMalformed("there are more than 16"));
    }
    for resource in &resources {
        absolute(resource).map_err(|e| Refusal::ResourceMalformed(e.0))?;
    }
    resources.sort();
    resources.dedup();
    Ok(Request {
        audience,
        resources,
        scope: form.single("scope")?.map(|s| Scope::parse(&s)).transpose()?.filter(|s| !s.is_empty()),
        agent_platform: context(form, "agent_platform")?,
        agent_context_id: context(form, "agent_context_id")?,
    })
}

/// The agent's own words, which the consent page shows: short, and nothing that could disguise itself.
fn context(form: &Pairs, name: &'static str) -> Result<Option<String>, Refusal> {
    match form.single(name)? {
        Some(text) if text.len() > MAX_CONTEXT => Err(Refusal::Malformed(name, "is longer than 256 bytes")),
        Some(text) if text.chars().any(char::is_control) => {
            Err(Refusal::Malformed(name, "contains a control character"))
        }
        text => Ok(text),
    }
}
