//! Clients: the document that names one, and how one proves who it is at the token endpoint.

use std::error::Error;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Sandbox;
use super::claims::{Context, LEEWAY};
use super::fetch::{What, overlooked};
use super::form::Fields;
use super::members::Members;
use super::reply::Refusal;
use super::state::Mark;
use super::token::Token;
use super::trust::jwks_uri;
use crate::domain::cimd;
use crate::domain::ids::IssuerUrl;
use crate::domain::time::{Seconds, Timestamp};
use crate::jose::Jwks;
use crate::lab::flaws::{Broken, Class, Rule};
use crate::secret::{Secret, same};

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Most seconds that a client's assertion may have before it.
const MAX_LIFETIME: Seconds = Seconds(600);

/// A client that is registered here.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Class::Client, why)
}

impl Sandbox {
    /// `client_id` is the issuer itself or leads, by its own document, to the keys that signed (auth.md, "CIMD resolution").
    pub(super) async fn judge_client(
        &self,
        issuer: &IssuerUrl,
        claims: &Members,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.0.broken.lacks(Rule::TrustClientId) {
            return Ok(());
        }
        let id = claims.text("client_id").ok_or_else(|| invalid("client_id is missing or not a text"))?;
        if id == issuer.as_str() {
            return Ok(());
        }
        let document = self.client_document(id, issuer.is_loopback(), now).await.map_err(invalid)?;
        // Whoever believes in any key cannot tell whose it is.
        let excuses = [Rule::IgnoreJwksUriOfDocument, Rule::AcceptAnyIssuer];
        let excused = excuses.into_iter().any(|rule| self.0.broken.lacks(rule));
        // The text is compared and not the parsed URL: two spellings are two identifiers.
        if document.jwks_uri.as_deref() == Some(&jwks_uri(issuer)) || excused {
            return Ok(());
        }
        // Another one may be there next time, and this one is no use (CIMD draft section 5.2).
        if let Ok(url) = url::Url::parse(id) {
            self.0.trust.documents.forget(&url, What::Cimd);
        }
        Err(invalid("the client's jwks_uri is not the key set that verified the signature"))
    }

    /// The document that a `client_id` leads to (CIMD draft sections 4 and 5).
    async fn client_document(&self, id: &str, loopback: bool, now: Timestamp) -> Result<cimd::Document, String> {
        let url = cimd::check_url(id, loopback).map_err(|error| error.to_string())?;
        let documents = &self.0.trust.documents;
        let found = documents.get(&url, What::Cimd, now).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn Error, client_id = ?id, "no client metadata document");
            "the client metadata document could not be had".to_owned()
        })?;
        cimd::judge(id, &overlooked(id, &found, self.0.broken), loopback).map_err(|error| {
            documents.forget(&url, What::Cimd);
            error.to_string()
        })
    }

    /// Who sends a request to the token endpoint (RFC 6749 section 2.3; RFC 7523 section 2.2). One way of proving it, and no other with it.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        form: &Fields,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let no = |why: &'static str| Refusal::coded(401, "invalid_client", why);
        let basic = headers.get(AUTHORIZATION).map(|value| basic(value.to_str().unwrap_or_default()));
        let (secret, assertion) = (form.get("client_secret"), form.get("client_assertion"));
        let ways = usize::from(basic.is_some()) + usize::from(secret.is_some()) + usize::from(assertion.is_some());
        if ways > 1 {
            return Err(no("the client proves who it is in more than one way"));
        }
        let (id, secret) = match (basic, secret, assertion) {
            (Some(Some((id, secret))), ..) => (id, secret),
            (Some(None), ..) => return Err(no("the Authorization header is not Basic with an id and a secret")),
            (None, Some(secret), _) => (form.get("client_id").unwrap_or_default().to_owned(), secret.to_owned()),
            (None, None, Some(assertion)) => return self.by_assertion(assertion, form, now).await,
            (None, None, None) => return Err(no("the client does not prove who it is")),
        };
        if form.get("client_id").is_some_and(|named| named != id) {
            return Err(no("client_id is not the client that authenticated"));
        }
        let known = self.0.clients.iter().find(|client| client.id == id);
        match known {
            Some(client) if same(client.secret.expose(), &secret) => Ok(id),
            _ => Err(no("client or secret is wrong")),
        }
    }

    /// A client that is named by its own document, and signs by the keys that this names (CIMD draft section 8.2).
    async fn by_assertion(&self, assertion: &str, form: &Fields, now: Timestamp) -> Result<String, Refusal> {
        let no = |why: String| Refusal::coded(401, "invalid_client", why);
        if form.get("client_assertion_type") != Some(JWT_BEARER) {
            return Err(no("client_assertion_type is not that of a JWT".into()));
        }
        let token = Token::read(assertion, Broken::default()).map_err(|refusal| no(refusal.message.into_owned()))?;
        let claims = &token.claims;
        let id = claims.text("iss").filter(|iss| claims.text("sub") == Some(iss));
        let id = id.ok_or_else(|| no("iss and sub of the client assertion are not one client".into()))?;
        let document = self.client_document(id, true, now).await.map_err(no)?;
        let set = self.client_keys(&document, now).await.map_err(no)?;
        let (kid, alg) = (token.header.text("kid").map(Into::into), token.header.text("alg").unwrap_or_default());
        let signed = set.find(kid.as_ref(), alg).is_some_and(|key| key.verifies(token.signed(), &token.signature));
        if !signed {
            return Err(no("no key of the client signed its assertion".into()));
        }
        let (origin, endpoint) = (&self.0.origin, format!("{}/oauth2/token", self.0.origin));
        if !claims.text("aud").is_some_and(|aud| aud == origin || aud == endpoint) {
            return Err(no("aud of the client assertion is neither this service nor its token endpoint".into()));
        }
        let exp = claims.get("exp").and_then(Value::as_i64).map(Timestamp);
        let exp = exp.filter(|exp| *exp + LEEWAY > now && *exp - now <= MAX_LIFETIME + LEEWAY);
        let exp = exp.ok_or_else(|| no("exp of the client assertion is missing, over, or too far away".into()))?;
        let context = Context { broken: Broken::default(), ..self.context(claims, now) };
        for name in ["nbf", "iat"] {
            let begins = context.time(name).map_err(|refusal| no(refusal.message.into_owned()))?;
            if begins.is_some_and(|at| at > now + LEEWAY) {
                return Err(no(format!("{name} of the client assertion is in the future")));
            }
        }
        let jti = claims.text("jti").ok_or_else(|| no("the client assertion has no jti".into()))?;
        let mark = Mark::new(&format!("client:{id}"), jti, exp + LEEWAY + LEEWAY);
        let mut state = self.state();
        if state.is_used(&mark, now) {
            return Err(no("this client assertion was used before".into()));
        }
        let most = state.most;
        state.spend(mark, most, now)?;
        Ok(id.to_owned())
    }

    async fn client_keys(&self, document: &cimd::Document, now: Timestamp) -> Result<Jwks, String> {
        if let Some(keys) = &document.metadata.jwks {
            return Ok(Jwks::parse(&serde_json::to_value(keys).unwrap_or_default()));
        }
        let uri = document.jwks_uri.as_deref().and_then(|uri| url::Url::parse(uri).ok());
        let uri = uri.ok_or("the client's document names no keys")?;
        let set = self.0.trust.documents.get(&uri, What::Jwks, now).await;
        Ok(Jwks::parse(&*set.map_err(|_| "the client's keys could not be had")?))
    }
}

/// Id and secret of a Basic header, each form-encoded (RFC 6749 section 2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let pair = format!("x={part}");
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}
