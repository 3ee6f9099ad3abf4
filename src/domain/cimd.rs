//! Client ID Metadata Document: which URLs may name a client, and which documents may be believed
//! (draft-ietf-oauth-client-id-metadata-document-02; sections are its own).
//!
//! Judged here, never fetched here. The same rules judge other people's documents and, at start, our own. What a document says about its
//! client is judged by the rulebook of every client, [`ClientMetadata`]; here stands what only a document can get wrong.

use serde_json::{Map, Value};
use url::Url;

use super::client_metadata::{AuthMethod, ClientMetadata, Door};
use super::ids::{IdError, absolute, is_loopback_host};
use super::members::MemberError;

/// Most bytes of `scope`.
const MAX_SCOPE: usize = 1024;

/// A document that kept every rule. Extra members are allowed and dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says about its client.
    pub metadata: ClientMetadata,
    /// Where the client's public keys are, if they are not in the metadata; byte for byte.
    pub jwks_uri: Option<String>,
}

/// Why a URL or its document is refused; each sentence is fit for an error description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CimdError {
    /// Section 3: a URL without userinfo and fragment; here also of bounded length.
    #[error("the client_id is refused: {0}")]
    Url(IdError),
    /// Section 3: the scheme is https.
    #[error("the client_id must begin with https:// (http:// only on a loopback host, in development)")]
    UrlScheme,
    /// Section 3: a path component is needed; `/` alone is allowed, though not recommended.
    #[error("the client_id must have a path, such as /agent.json")]
    UrlPath,
    /// Section 3: no single-dot or double-dot path components.
    #[error("the client_id must not have . or .. as a path segment")]
    UrlDotSegment,
    /// Section 3: SHOULD NOT have a query; we refuse it.
    #[error("the client_id must not have a query")]
    UrlQuery,
    /// Section 4: the document is a JSON object.
    #[error("the client metadata document is not a JSON object")]
    NotAnObject,
    /// Section 4; RFC 3986 section 6.2.1: simple string comparison.
    #[error("client_id in the document is not the URL it was fetched from, byte for byte")]
    ClientId,
    /// Section 4.1: neither `client_secret` nor `client_secret_expires_at`, whatever their values.
    #[error("the document must not contain client_secret or client_secret_expires_at")]
    Secret,
    /// Section 8.2: `private_key_jwt` needs published keys.
    #[error("private_key_jwt needs jwks or jwks_uri")]
    KeysMissing,
    /// RFC 7591 section 2: `jwks` and `jwks_uri` exclude each other.
    #[error("jwks and jwks_uri must not both be present")]
    KeysTwice,
    /// Section 8.6: URLs of schemes that are known, which for us are https and, in development, http.
    #[error("{0} must be an https URL (http only on a loopback host, in development)")]
    Link(&'static str),
    /// RFC 6749 section 3.3.
    #[error("scope must be a text of space-separated scope tokens, at most 1024 bytes")]
    Scope,
    /// What breaks a rule of every client's.
    #[error(transparent)]
    Metadata(#[from] MemberError),
}

/// Checks the URL that names a client, before anything is fetched from it.
///
/// `allow_loopback` lets http pass on a loopback host; only a server whose own issuer is loopback sets it.
///
/// # Errors
/// The rule of section 3 that the URL breaks.
pub fn check_url(text: &str, allow_loopback: bool) -> Result<Url, CimdError> {
    let url = absolute(text).map_err(CimdError::Url)?;
    // From here on the raw text is looked at: the parser has already removed dot segments, repaired `https:host` and
    // dropped an empty userinfo, while the identifier stays what was written.
    let rest = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if allow_loopback && is_loopback_host(&url) => rest,
        _ => return Err(CimdError::UrlScheme),
    };
    if url.query().is_some() {
        return Err(CimdError::UrlQuery);
    }
    let (authority, path) = rest.split_once('/').ok_or(CimdError::UrlPath)?;
    if authority.is_empty() || authority.contains('@') {
        return Err(CimdError::Url(IdError("its host is empty or follows an empty user name")));
    }
    if path.split('/').any(is_dot_segment) {
        return Err(CimdError::UrlDotSegment);
    }
    Ok(url)
}

/// `.` or `..`, also where dots are written `%2e`.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Judges the document that was fetched from `url`, or that is about to be served there.
///
/// `allow_loopback` is as for [`check_url`] and covers the inner URLs as well.
///
/// # Errors
/// The first rule that is broken; a document with an error must be neither used nor cached (section 5.2).
pub fn judge(url: &str, body: &Value, allow_loopback: bool) -> Result<Document, CimdError> {
    check_url(url, allow_loopback)?;
    let Value::Object(members) = body else { return Err(CimdError::NotAnObject) };
    if members.get("client_id").and_then(Value::as_str) != Some(url) {
        return Err(CimdError::ClientId);
    }
    if members.contains_key("client_secret") || members.contains_key("client_secret_expires_at") {
        return Err(CimdError::Secret);
    }
    for name in ["client_uri", "logo_uri", "tos_uri", "policy_uri"] {
        link(members, name, allow_loopback)?;
    }
    scope(members)?;
    let jwks_uri = link(members, "jwks_uri", allow_loopback)?;
    let metadata = ClientMetadata::read(members.clone(), Door::Cimd)?;
    match (&metadata.jwks, &jwks_uri) {
        (Some(_), Some(_)) => Err(CimdError::KeysTwice),
        (None, None) if metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt => Err(CimdError::KeysMissing),
        _ => Ok(Document { metadata, jwks_uri: jwks_uri.map(str::to_owned) }),
    }
}

/// A member that says something: null counts as absent.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

/// An https URL among the members. Pages may be named with a fragment, so it does not count against them.
fn link<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
    allow_loopback: bool,
) -> Result<Option<&'a str>, CimdError> {
    let Some(value) = member(members, name) else { return Ok(None) };
    let refused = CimdError::Link(name);
    let Some(text) = value.as_str() else { return Err(refused) };
    let base = text.split_once('#').map_or(text, |(base, _)| base);
    match absolute(base) {
        Ok(url) if url.scheme() == "https" => Ok(Some(text)),
        Ok(url) if url.scheme() == "http" && allow_loopback && is_loopback_host(&url) => Ok(Some(text)),
        _ => Err(refused),
    }
}

fn scope(members: &Map<String, Value>) -> Result<(), CimdError> {
    let Some(value) = member(members, "scope") else { return Ok(()) };
    let text = value.as_str().filter(|text| text.len() <= MAX_SCOPE).ok_or(CimdError::Scope)?;
    if text.bytes().any(|b| !(b' '..=b'~').contains(&b) || b == b'"' || b == b'\\') {
        return Err(CimdError::Scope);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
