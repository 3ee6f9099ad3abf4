//! Whom the sandbox believes: from a token somebody sent to one that a trusted issuer signed. With [`client`](super::client), the only part
//! that fetches.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use url::Url;

use super::checks::{Check, Checks};
use super::fetch::{Fetch, What};
use super::reply::Refusal;
use super::token::{Token, key_as_secret};
use crate::domain::ids::IssuerUrl;
use crate::domain::public_jwks::MAX_KEYS;
use crate::domain::time::Timestamp;
use crate::jose::{PublicKey, hmac_sha256};
use crate::lab::flaws::{Broken, Class, Dialect, Rule};
use crate::net::{DocumentError, NetError, Policy};

/// The algorithms of [`crate::jose`]; a token that names another is not worth a fetch.
const ALGORITHMS: [&str; 2] = ["ES256", "RS256"];

/// Most issuers of whom it is remembered that they were here.
const MAX_SEEN: usize = 100;

pub(super) struct Trust {
    /// Our own identifier, never an issuer of assertions.
    origin: String,
    /// Empty: any loopback issuer.
    issuers: Vec<IssuerUrl>,
    pub(super) documents: Fetch,
    dialect: Dialect,
    broken: Broken,
    /// Those whose tokens were taken, for whoever believes in any key.
    seen: Mutex<BTreeSet<String>>,
    /// The first key set of each issuer, for whoever never fetches another.
    first: Mutex<BTreeMap<Url, Arc<Value>>>,
}

fn bad(why: &'static str) -> Refusal {
    Refusal::new(Class::Signature, why)
}

impl Trust {
    pub(super) fn new(
        origin: &str,
        issuers: Vec<IssuerUrl>,
        dialect: Dialect,
        broken: Broken,
    ) -> Result<Self, NetError> {
        // Whoever trusts public issuers only has no business on this machine.
        let private = issuers.is_empty() || issuers.iter().any(IssuerUrl::is_loopback);
        let documents = Fetch::new(Policy { allow_private_addresses: private, ..Policy::default() }, broken)?;
        let origin = origin.to_owned();
        Ok(Self { origin, issuers, documents, dialect, broken, seen: Mutex::default(), first: Mutex::default() })
    }

    /// The issuer, if it is trusted and signed this token, which is of kind `typ` (auth.md, "Verifying ID-JAGs"; RFC 8725 sections 3.1 and
    /// 3.8 to 3.11).
    pub(super) async fn believe(
        &self,
        token: &Token,
        typ: &str,
        checks: &mut Checks,
        now: Timestamp,
    ) -> Result<IssuerUrl, Refusal> {
        checks.ask(Check::Issuer);
        let signers = self.issuers_named(token.claims.text("iss"))?;
        checks.ask(Check::Type);
        self.kind(token, typ)?;
        checks.ask(Check::Algorithm);
        let alg = self.algorithm(token)?;
        if alg == "none" {
            return Ok(signers[0].clone());
        }
        checks.ask(Check::Key);
        if let Some(key) = self.own_key(token, now).await? {
            checks.ask(Check::Signature);
            self.signed_by(token, std::slice::from_ref(&key))?;
            return Ok(signers[0].clone());
        }
        let mut refusal = bad("the issuer publishes no such key");
        for issuer in &signers {
            match self.signed(token, issuer, checks, now).await {
                Ok(()) => {
                    let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    if seen.len() < MAX_SEEN {
                        seen.insert(issuer.as_str().to_owned());
                    }
                    return Ok(signers[0].clone());
                }
                Err(no) => refusal = no,
            }
        }
        Err(refusal)
    }

    /// Those whose keys are tried, the one that is named first. One, but for a service that believes too much. Exact strings, no parsing of
    /// what is compared ("Trust list").
    fn issuers_named(&self, named: Option<&str>) -> Result<Vec<IssuerUrl>, Refusal> {
        let no = || Refusal::new(Class::Issuer, "iss is not an issuer trusted here");
        let named = named.ok_or_else(no)?;
        let known = || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let seen: Vec<IssuerUrl> = seen.iter().filter_map(|text| IssuerUrl::parse(text).ok()).collect();
            self.issuers.iter().cloned().chain(seen).collect::<Vec<_>>()
        };
        if named == self.origin {
            let known = known();
            return if self.broken.lacks(Rule::AcceptOwnAssertion) && !known.is_empty() {
                Ok(known)
            } else {
                Err(no())
            };
        }
        let issuer = IssuerUrl::parse(named).ok();
        if let Some(issuer) = issuer.clone().filter(|issuer| self.trusts(issuer)) {
            return Ok(vec![issuer]);
        }
        if self.broken.lacks(Rule::AcceptIssuerWithSlash) {
            let without = named.strip_suffix('/').and_then(|text| IssuerUrl::parse(text).ok());
            if let Some(issuer) = without.filter(|issuer| self.trusts(issuer)) {
                return Ok(vec![issuer]);
            }
        }
        if self.broken.lacks(Rule::AcceptIssuerPrefix)
            && let Some(issuer) = known().into_iter().find(|issuer| named.starts_with(issuer.as_str()))
        {
            return Ok(vec![issuer]);
        }
        if self.broken.lacks(Rule::AcceptAnyIssuer)
            && let Some(issuer) = issuer
        {
            return Ok(std::iter::once(issuer).chain(known()).collect());
        }
        Err(no())
    }

    fn trusts(&self, issuer: &IssuerUrl) -> bool {
        match self.issuers.as_slice() {
            [] => issuer.is_loopback(),
            issuers => issuers.contains(issuer),
        }
    }

    fn kind(&self, token: &Token, typ: &str) -> Result<(), Refusal> {
        if token.header.get("typ").is_some_and(|value| !value.is_string()) {
            return Refusal::because(Class::Malformed, "typ is not a text");
        }
        if token.typ() == Some(typ) || self.broken.lacks(Rule::AcceptAnyTyp) {
            return Ok(());
        }
        Refusal::because(Class::Type, format!("typ is not {typ}"))
    }

    fn algorithm<'t>(&self, token: &'t Token) -> Result<&'t str, Refusal> {
        let alg = token.header.text("alg");
        let unsigned = alg.is_some_and(|alg| alg.eq_ignore_ascii_case("none"));
        if unsigned && self.broken.lacks(Rule::AcceptAlgNone) && token.signature.is_empty() {
            return Ok("none");
        }
        match alg {
            Some("HS256") if self.broken.lacks(Rule::AcceptAlgOfHeader) => Ok("HS256"),
            Some(alg) if ALGORITHMS.contains(&alg) => Ok(alg),
            _ if self.broken.lacks(Rule::IgnoreAlg) && !unsigned && alg != Some("HS256") => Ok(""),
            None => Refusal::because(Class::Malformed, "the header names no algorithm"),
            Some(_) => Err(bad("the algorithm is neither ES256 nor RS256")),
        }
    }

    /// The key that a token brings along, for a service that believes in those. A strict one takes no such token at all: who sends one
    /// means it to be read.
    async fn own_key(&self, token: &Token, now: Timestamp) -> Result<Option<Value>, Refusal> {
        let header = &token.header;
        let brought = ["x5u", "x5c", "jwk", "jku"].into_iter().find(|name| header.get(name).is_some());
        let Some(name) = brought else { return Ok(None) };
        if !self.broken.lacks(Rule::AcceptKeyOfHeader) || name.starts_with("x5") {
            return Err(bad("the header brings a key along, or points to one, which is believed of nobody"));
        }
        if name == "jwk" {
            return Ok(header.get("jwk").cloned());
        }
        let url = header.text(name).and_then(|text| Url::parse(text).ok()).ok_or_else(|| bad("its key is nowhere"))?;
        let set = self.documents.get(&url, What::Jwks, now).await.map_err(|e| unreachable(&e))?;
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let kid = header.get("kid");
        Ok(keys.iter().find(|key| key.get("kid") == kid).or(keys.first()).cloned())
    }

    /// Whether an issuer's published key signed it. A set that lacks the key is fetched once more ("JWKS fetching").
    async fn signed(
        &self,
        token: &Token,
        issuer: &IssuerUrl,
        checks: &mut Checks,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if token.header.text("kid").is_none() && !self.broken.lacks(Rule::IgnoreKid) {
            return Err(bad("the header names no key"));
        }
        let url = self.key_set(issuer, now).await?;
        if self.broken.lacks(Rule::RefetchOnEveryRequest) {
            self.documents.forget(&url, What::Jwks);
        }
        let known = self.documents.get(&url, What::Jwks, now).await.map_err(|e| unreachable(&e))?;
        let known = if self.broken.lacks(Rule::NeverRefetchJwks) {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.entry(url.clone()).or_insert(known).clone()
        } else {
            known
        };
        let named = self.named(token, &known)?;
        if !named.is_empty() {
            checks.ask(Check::Signature);
            return self.signed_by_one(token, &named, &known);
        }
        let none = || bad("the issuer publishes no such key");
        if self.broken.lacks(Rule::NeverRefetchJwks) {
            return Err(none());
        }
        let newest = self.documents.refetch(&url, What::Jwks, now).await.map_err(|e| unreachable(&e))?;
        let named = self.named(token, &newest)?;
        if named.is_empty() {
            return Err(none());
        }
        checks.ask(Check::Signature);
        self.signed_by_one(token, &named, &newest)
    }

    /// Where an issuer's keys are: where its metadata say, for whoever speaks RFC 8414; auth.md looks at one place, whatever they say.
    pub(super) async fn key_set(&self, issuer: &IssuerUrl, now: Timestamp) -> Result<Url, Refusal> {
        let usual = || Url::parse(&jwks_uri(issuer)).map_err(|_| bad("the issuer has no place for its keys"));
        if self.dialect != Dialect::Plain {
            return usual();
        }
        for place in metadata_urls(issuer) {
            let Ok(url) = Url::parse(&place) else { continue };
            if let Ok(found) = self.documents.get(&url, What::Metadata, now).await
                && found.get("issuer").and_then(Value::as_str) == Some(issuer.as_str())
                && let Some(uri) = found.get("jwks_uri").and_then(Value::as_str)
            {
                return Url::parse(uri).map_err(|_| bad("the issuer's jwks_uri is no URL"));
            }
        }
        usual()
    }

    /// The keys of a set that a token may mean: of its name.
    fn named<'s>(&self, token: &Token, set: &'s Value) -> Result<Vec<&'s Value>, Refusal> {
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if keys.len() > MAX_KEYS && !self.broken.lacks(Rule::ReadWithoutBounds) {
            return Refusal::because(Class::Unavailable, format!("the issuer's key set has more than {MAX_KEYS} keys"));
        }
        if self.broken.lacks(Rule::RefuseSetsWithUnknownKeys) && keys.iter().any(|key| self.key(key).is_none()) {
            return Err(bad("the issuer's key set has a key of an unknown kind"));
        }
        if self.broken.lacks(Rule::IgnoreKid) {
            return Ok(keys.iter().collect());
        }
        let kid = token.header.text("kid");
        Ok(keys.iter().filter(|key| key.get("kid").and_then(Value::as_str) == kid).collect())
    }

    fn signed_by_one(&self, token: &Token, named: &[&Value], set: &Value) -> Result<(), Refusal> {
        let ambiguous =
            named.len() > 1 && ![Rule::IgnoreKid, Rule::AcceptFirstKeyOfAName].iter().any(|r| self.broken.lacks(*r));
        if ambiguous {
            return Err(bad("the issuer publishes several keys of that name"));
        }
        let named: Vec<Value> = named.iter().map(|key| (*key).clone()).collect();
        let outcome = self.signed_by(token, &named);
        if outcome.is_err() && !self.broken.lacks(Rule::IgnoreKid) {
            // Told apart, for whoever looks for what went wrong.
            let others = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let another = others.iter().filter_map(|key| self.key(key));
            if another.into_iter().any(|key| key.verifies(token.signed(), &token.signature)) {
                return outcome.map_err(|no| Refusal {
                    message: "another key of the issuer signed than the one named".into(),
                    ..no
                });
            }
        }
        match outcome {
            Err(_) if self.broken.lacks(Rule::IgnoreSignature) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether one of these keys signed it, by its own algorithm (RFC 8725 section 3.1).
    fn signed_by(&self, token: &Token, keys: &[Value]) -> Result<(), Refusal> {
        let alg = token.header.text("alg").unwrap_or_default();
        if alg == "HS256" && self.broken.lacks(Rule::AcceptAlgOfHeader) {
            let secrets = keys.iter().filter_map(key_as_secret);
            let mut made = secrets.map(|secret| hmac_sha256(&secret, token.signed()));
            return if made.any(|made| made == token.signature) {
                Ok(())
            } else {
                Err(bad("it was made by no such secret"))
            };
        }
        let usable: Vec<PublicKey> = keys.iter().filter_map(|key| self.key(key)).collect();
        if usable.is_empty() {
            return Err(bad("the key that the header names verifies nothing"));
        }
        let fitting: Vec<&PublicKey> =
            usable.iter().filter(|key| key.alg() == alg || self.broken.lacks(Rule::IgnoreAlg)).collect();
        if fitting.is_empty() {
            return Err(bad("the algorithm is not the key's"));
        }
        let raw = self.broken.lacks(Rule::AcceptSignatureInDer).then(|| out_of_der(&token.signature)).flatten();
        let signature = raw.as_deref().unwrap_or(&token.signature);
        if fitting.iter().any(|key| key.verifies(token.signed(), signature)) {
            return Ok(());
        }
        Err(bad("the signature does not verify"))
    }

    /// A published key that verifies, as far as the rules let it.
    fn key(&self, jwk: &Value) -> Option<PublicKey> {
        let mut jwk = jwk.clone();
        let members = jwk.as_object_mut()?;
        if self.broken.lacks(Rule::IgnoreKeyUse) {
            members.retain(|name, _| !["use", "key_ops", "alg"].contains(&name.as_str()));
        }
        if self.broken.lacks(Rule::AcceptPublishedPrivateKeys) {
            members.retain(|name, _| !["d", "p", "q", "dp", "dq", "qi"].contains(&name.as_str()));
        }
        PublicKey::from_jwk(&jwk)
    }
}

/// Where auth.md looks for an issuer's keys ("JWKS fetching").
pub(super) fn jwks_uri(issuer: &IssuerUrl) -> String {
    issuer.at("/.well-known/jwks.json")
}

/// Where an issuer's metadata may be (RFC 8414 section 3.1; OpenID Connect Discovery section 4).
fn metadata_urls(issuer: &IssuerUrl) -> [String; 3] {
    let (text, origin) = (issuer.as_str(), issuer.origin());
    let path = text.strip_prefix(origin).unwrap_or_default();
    [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
        format!("{text}/.well-known/openid-configuration"),
    ]
}

/// Not the sender's mistake, so it is not refused as one: a notice then comes again.
fn unreachable(error: &DocumentError) -> Refusal {
    tracing::warn!(error = error as &dyn Error, "no key set");
    Refusal::new(Class::Unavailable, "the issuer's key set could not be had")
}

/// The two numbers of an ECDSA signature in DER (RFC 3279 section 2.2.3) as JWS has them, if it is short enough to be one of P-256.
fn out_of_der(signature: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| -> Option<(Vec<u8>, usize)> {
        let (&[0x02, length], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let digits = rest.get(..usize::from(length))?;
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        let mut whole = vec![0; 32_usize.checked_sub(digits.len())?];
        whole.extend_from_slice(digits);
        Some((whole, 2 + usize::from(length)))
    };
    let (&[0x30, _], body) = signature.split_first_chunk::<2>()? else { return None };
    let (r, read) = number(body)?;
    let (s, _) = number(&body[read..])?;
    Some([r, s].concat())
}
