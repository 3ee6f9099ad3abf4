//! Whom the sandbox believes: from a token somebody sent to claims that a trusted issuer signed. The only part that fetches.

use std::error::Error;

use serde_json::Value;
use url::Url;

use super::members::Members;
use super::reply::{Code, Refusal};
use super::verify;
use crate::domain::cimd;
use crate::domain::ids::IssuerUrl;
use crate::domain::time::Timestamp;
use crate::jose::{Jwks, Unverified};
use crate::net::{DocumentError, Documents, Limits, Net, NetError, Policy};

/// The algorithms of [`crate::jose`]; a token that names another is not worth a fetch.
const ALGORITHMS: [&str; 2] = ["ES256", "RS256"];

pub(super) struct Trust {
    /// Our own identifier, never an issuer of assertions.
    origin: String,
    /// Empty: any loopback issuer.
    issuers: Vec<IssuerUrl>,
    documents: Documents,
}

impl Trust {
    pub(super) fn new(origin: &str, issuers: Vec<IssuerUrl>) -> Result<Self, NetError> {
        // Whoever trusts public issuers only has no business on this machine.
        let private = issuers.is_empty() || issuers.iter().any(IssuerUrl::is_loopback);
        let net = Net::new(Policy { allow_private_addresses: private, ..Policy::default() })?;
        Ok(Self { origin: origin.to_owned(), issuers, documents: Documents::new(net) })
    }

    /// The claims of a token of kind `typ`, and the trusted issuer that signed it (auth.md v0.1, "Implementation steps" 1 to 4).
    pub(super) async fn believe(
        &self,
        token: &str,
        typ: &str,
        now: Timestamp,
    ) -> Result<(IssuerUrl, Members), Refusal> {
        let invalid = |why| Refusal::new(Code::InvalidSignature, why);
        let token = Unverified::parse(token).map_err(|error| Refusal::new(Code::InvalidRequest, error.0))?;
        let issuer = self.issuer(token.issuer().as_deref())?;
        if token.typ() != Some(typ) {
            return Refusal::because(Code::InvalidRequest, format!("typ is not {typ}"));
        }
        if !ALGORITHMS.contains(&token.alg()) {
            return Err(invalid("the algorithm is neither ES256 nor RS256"));
        }
        if token.kid().is_none() {
            return Err(invalid("the header names no key"));
        }
        let url = Url::parse(&jwks_uri(&issuer)).map_err(|_| invalid("the issuer has no place for its keys"))?;
        let known = self.documents.get(&url, Limits::JWKS, now).await.map_err(|e| unreachable(&e))?;
        if let Some(claims) = signed(&token, typ, &known.body)? {
            return Ok((issuer, claims));
        }
        // The issuer may have begun to sign with a new key ("JWKS fetching": refetch once before rejecting).
        let newest = self.documents.refetch(&url, Limits::JWKS, now).await.map_err(|e| unreachable(&e))?;
        let claims = signed(&token, typ, &newest.body)?;
        claims.map(|claims| (issuer, claims)).ok_or_else(|| invalid("the issuer publishes no such key"))
    }

    /// Exact strings, no parsing of what is compared ("Trust list").
    fn issuer(&self, named: Option<&str>) -> Result<IssuerUrl, Refusal> {
        let issuer = named.and_then(|text| IssuerUrl::parse(text).ok()).filter(|issuer| issuer.as_str() != self.origin);
        let trusted = issuer.filter(|issuer| match self.issuers.as_slice() {
            [] => issuer.is_loopback(),
            issuers => issuers.contains(issuer),
        });
        trusted.ok_or_else(|| Refusal::new(Code::InvalidIssuer, "iss is not an issuer trusted here"))
    }

    /// `client_id` is the issuer itself or leads, by its own document, to the keys that signed ("CIMD resolution").
    pub(super) async fn client(&self, issuer: &IssuerUrl, claims: &Members, now: Timestamp) -> Result<(), Refusal> {
        let invalid = |why: String| Refusal::new(Code::InvalidClientId, why);
        let id = claims.text("client_id").ok_or_else(|| invalid("client_id is missing or not a text".into()))?;
        if id == issuer.as_str() {
            return Ok(());
        }
        let url = cimd::check_url(id, issuer.is_loopback()).map_err(|error| invalid(error.to_string()))?;
        let document = self.documents.get(&url, Limits::CIMD, now).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn Error, client_id = ?id, "no client metadata document");
            invalid("the client metadata document could not be had".into())
        })?;
        let judged = verify::client_document(id, &document.body, &jwks_uri(issuer), issuer.is_loopback());
        if judged.is_err() {
            self.documents.forget(&url, Limits::CIMD);
        }
        judged
    }
}

/// Where v0.1 looks for an issuer's keys, whatever its metadata say.
fn jwks_uri(issuer: &IssuerUrl) -> String {
    issuer.at("/.well-known/jwks.json")
}

/// The claims, if the set holds the key that the header names; an error when it does and that key did not sign this.
fn signed(token: &Unverified<'_>, typ: &str, set: &Value) -> Result<Option<Members>, Refusal> {
    let jwks = Jwks::parse(set);
    let Some(key) = jwks.find(token.kid(), token.alg()) else { return Ok(None) };
    let claims: Members =
        token.verify(key, Some(typ)).map_err(|error| Refusal::new(Code::InvalidSignature, error.0))?;
    if claims.repeated {
        return Refusal::because(Code::InvalidRequest, "a claim is repeated");
    }
    Ok(Some(claims))
}

/// Not the sender's mistake, so it is not refused as one: a notice then comes again.
fn unreachable(error: &DocumentError) -> Refusal {
    tracing::warn!(error = error as &dyn Error, "no key set");
    Refusal::new(Code::TemporarilyUnavailable, "the issuer's key set could not be had")
}
