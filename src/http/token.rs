//! `POST /token` (RFC 6749 section 3.2, RFC 8693 section 2).

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::form::Pairs;
use super::{credential, reply};
use crate::domain::claims::OneOrMany;
use crate::domain::client::Client;
use crate::domain::client_metadata::{AUTHORIZATION_CODE, REFRESH_TOKEN, TOKEN_EXCHANGE};
use crate::domain::display_name::check_shown;
use crate::domain::exchange::{Request, SubjectTokenType};
use crate::domain::ids::{Audience, absolute};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::client_auth::authenticate;
use crate::flow::exchange::Minted;
use crate::flow::tokens::TokenSet;
use crate::flow::{code, exchange, refresh};
use crate::host::App;
use crate::secret::Secret;

const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Most resources of one request.
const MAX_RESOURCES: usize = 16;
/// Most bytes of `agent_platform` and `agent_context_id`.
const MAX_CONTEXT: usize = 256;

/// Client first, then the grant.
pub(super) async fn post(app: App, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let form = Pairs::read(&headers, body).await?;
    let client = authenticate(&app, credential::find(&headers, &form)?).await?;
    tracing::Span::current().record("client", client.client_id.as_str());
    match grant(&client, &headers, &form) {
        // It spends the credential in the transaction that mints.
        Ok(Grant::Exchange { subject_token, kind, request }) => {
            Ok(minted(&exchange::run(&app, client, &subject_token, kind, request).await?))
        }
        Ok(Grant::Code(request)) => {
            let client = client.spend(&app).await?;
            Ok(tokens(&Box::pin(code::run(&app, &client, &request)).await?))
        }
        Ok(Grant::Refresh { token, scope }) => {
            let client = client.spend(&app).await?;
            Ok(tokens(&Box::pin(refresh::run(&app, &client, &token, scope.as_ref())).await?))
        }
        // Whatever is wrong with the request, whoever sends an assertion again is nobody.
        Err(refusal) => {
            client.spend(&app).await?;
            Err(refusal.into())
        }
    }
}

/// What is asked for.
enum Grant {
    Code(code::Request),
    Refresh { token: String, scope: Option<Scope> },
    Exchange { subject_token: Secret, kind: SubjectTokenType, request: Request },
}

fn grant(client: &Client, headers: &HeaderMap, form: &Pairs) -> Result<Grant, Refusal> {
    // Ignoring a proof would hand out a token that its client believes to be bound (ID-JAG draft section 9.8.1.1).
    if headers.contains_key("dpop") {
        return Err(Refusal::NotSupported("DPoP"));
    }
    form.once(&["audience", "resource"])?;
    let grant_type = form.required("grant_type")?;
    if ![AUTHORIZATION_CODE, REFRESH_TOKEN, TOKEN_EXCHANGE].contains(&grant_type.as_str()) {
        return Err(Refusal::GrantTypeUnsupported);
    }
    if !client.may_use(&grant_type) {
        return Err(Refusal::GrantTypeNotAllowed);
    }
    match grant_type.as_str() {
        AUTHORIZATION_CODE => Ok(Grant::Code(code::Request {
            code: Secret::new(form.required("code")?),
            redirect_uri: form.required("redirect_uri")?,
            code_verifier: form.single("code_verifier")?.map(Secret::new),
        })),
        REFRESH_TOKEN => Ok(Grant::Refresh {
            token: form.required("refresh_token")?,
            scope: form.single("scope")?.map(|s| Scope::parse(&s)).transpose()?,
        }),
        _ => token_exchange(form),
    }
}

/// RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3, RFC 8693 section 2.2.1.
#[derive(Default, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    access_token: &'a str,
    token_type: &'static str,
    expires_in: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

impl Answer<'_> {
    fn send(&self) -> Response {
        reply::private_json(StatusCode::OK, self)
    }
}

fn tokens(set: &TokenSet) -> Response {
    // One that holds nothing is none (RFC 6749 section 3.3).
    let scope = set.scope.to_string();
    let answer = Answer {
        access_token: set.access_token.expose(),
        token_type: "Bearer",
        expires_in: set.expires_in,
        scope: Some(scope.as_str()).filter(|scope| !scope.is_empty()),
        refresh_token: set.refresh_token.as_ref().map(Secret::expose),
        id_token: set.id_token.as_ref().map(Secret::expose),
        ..Answer::default()
    };
    answer.send()
}

fn minted(minted: &Minted) -> Response {
    let answer = Answer {
        issued_token_type: Some(ID_JAG),
        access_token: minted.assertion.expose(),
        token_type: "N_A",
        expires_in: minted.expires_in,
        scope: minted.scope.as_deref(),
        resource: minted.resource.as_ref(),
        ..Answer::default()
    };
    answer.send()
}

fn token_exchange(form: &Pairs) -> Result<Grant, Refusal> {
    for unsupported in ["actor_token", "actor_token_type", "authorization_details"] {
        if form.single(unsupported)?.is_some() {
            return Err(Refusal::NotSupported(unsupported));
        }
    }
    if form.required("requested_token_type")? != ID_JAG {
        return Err(Refusal::Malformed("requested_token_type", "must be urn:ietf:params:oauth:token-type:id-jag"));
    }
    let subject_token = Secret::new(form.required("subject_token")?);
    let kind = match form.required("subject_token_type")?.as_str() {
        ID_TOKEN => SubjectTokenType::IdToken,
        ACCESS_TOKEN => SubjectTokenType::AccessToken,
        _ => return Err(Refusal::Malformed("subject_token_type", "must be that of an id_token or access_token")),
    };
    Ok(Grant::Exchange { subject_token, kind, request: request(form)? })
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
        asked_as: None,
        resources,
        scope: form.single("scope")?.map(|s| Scope::parse(&s)).transpose()?.filter(|s| !s.is_empty()),
        agent_platform: context(form, "agent_platform")?,
        agent_context_id: context(form, "agent_context_id")?,
    })
}

/// The agent's own words, which the consent page shows as they came, and the service gets: short, and nothing that could disguise itself.
fn context(form: &Pairs, name: &'static str) -> Result<Option<String>, Refusal> {
    let Some(text) = form.single(name)? else { return Ok(None) };
    if text.len() > MAX_CONTEXT {
        return Err(Refusal::Malformed(name, "is longer than 256 bytes"));
    }
    check_shown(&text).map_err(|problem| Refusal::TextMalformed(name, problem.0))?;
    Ok(Some(text))
}
