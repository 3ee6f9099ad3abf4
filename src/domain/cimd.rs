//! Client ID Metadata Document: which URLs may name a client, and which documents may be believed
//! (draft-ietf-oauth-client-id-metadata-document-01, with the points of -02 that are marked).
//!
//! Judged here, never fetched here. The same rules judge other people's documents and, at start, our own.

use serde_json::{Map, Value};
use url::Url;

use super::ids::{IdError, absolute, is_loopback_host};

/// Most bytes of a document, counted as they are read (section "Security Considerations": 5 KB recommended).
/// Whoever reads one from outside applies it before parsing.
pub const MAX_DOCUMENT: usize = 5 * 1024;

/// Most characters of a client's name; it stands on the consent page.
const MAX_NAME: usize = 100;

/// Most bytes of `scope`.
const MAX_SCOPE: usize = 1024;

/// Most entries of `redirect_uris` and of the key set.
const MAX_ENTRIES: usize = 32;

/// A document that kept every rule. Extra members are allowed and dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The URL that is the client's identifier, byte for byte as it was asked for.
    pub client_id: String,
    /// What the client calls itself; show the host of `client_id` beside it (section "Displaying the client").
    pub client_name: Option<String>,
    /// How the client authenticates at the token endpoint.
    pub auth_method: AuthMethod,
    /// Where its public keys are.
    pub keys: Keys,
    /// Redirect URIs, compared as exact strings (RFC 9700 section 2.1). May be empty: token exchange needs none.
    pub redirect_uris: Vec<String>,
    /// The client's home page.
    pub client_uri: Option<Url>,
    /// Its logo.
    pub logo_uri: Option<Url>,
    /// Its terms of service.
    pub tos_uri: Option<Url>,
    /// Its privacy policy.
    pub policy_uri: Option<Url>,
    /// The scopes it may ask for, space separated (RFC 7591 section 2).
    pub scope: Option<String>,
}

/// The two ways to authenticate that need no shared secret and that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A public client: `none`.
    Public,
    /// `private_key_jwt` (RFC 7523); such a client must then always authenticate.
    PrivateKeyJwt,
}

/// The public keys of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// It publishes none.
    None,
    /// `jwks_uri`.
    At(Url),
    /// `jwks`: the whole JWK set, free of private members.
    Inline(Value),
}

/// Why a URL or its document is refused; each sentence is fit for an error description. "CIMD" is the draft named above.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CimdError {
    /// CIMD "Client Identifier": a URL without userinfo and fragment, of bounded length.
    #[error("the client_id is refused: {0}")]
    Url(IdError),
    /// CIMD "Client Identifier": RFC 3986 knows ASCII only, so that what is compared is also what is shown.
    #[error("the client_id contains a character that a URL must percent-encode")]
    UrlNotAscii,
    /// CIMD "Client Identifier": the scheme is https.
    #[error("the client_id must begin with https:// (http:// only on a loopback host, in development)")]
    UrlScheme,
    /// CIMD "Client Identifier": a path component is needed.
    #[error("the client_id must have a path, such as /agent.json")]
    UrlPath,
    /// CIMD "Client Identifier": no single-dot or double-dot path segments.
    #[error("the client_id must not have . or .. as a path segment")]
    UrlDotSegment,
    /// CIMD "Client Identifier": SHOULD NOT have a query; we refuse it.
    #[error("the client_id must not have a query")]
    UrlQuery,
    /// CIMD "Client Metadata": the document is a JSON object.
    #[error("the client metadata document is not a JSON object")]
    NotAnObject,
    /// CIMD "Client Metadata"; RFC 3986 section 6.2.1: simple string comparison.
    #[error("client_id in the document is not the URL it was fetched from, byte for byte")]
    ClientId,
    /// CIMD "Client Metadata"; RFC 7591 section 2: absent would mean `client_secret_basic`.
    #[error("token_endpoint_auth_method is missing: it must be private_key_jwt or none")]
    MethodMissing,
    /// CIMD "Client Metadata": no method that rests on a shared secret.
    #[error("token_endpoint_auth_method rests on a shared secret: it must be private_key_jwt or none")]
    MethodSecret,
    /// RFC 7591 section 2: a method we don't know is refused, since it may rest on a shared secret.
    #[error("token_endpoint_auth_method is not supported: it must be private_key_jwt or none")]
    MethodUnknown,
    /// CIMD "Client Metadata": neither `client_secret` nor `client_secret_expires_at`, whatever their values.
    #[error("the document must not contain client_secret or client_secret_expires_at")]
    Secret,
    /// CIMD "Client Authentication": `private_key_jwt` needs published keys.
    #[error("private_key_jwt needs jwks or jwks_uri")]
    KeysMissing,
    /// RFC 7591 section 2: `jwks` and `jwks_uri` exclude each other.
    #[error("jwks and jwks_uri must not both be present")]
    KeysTwice,
    /// RFC 7517 section 5: an object whose `keys` is an array of objects; here neither empty nor long.
    #[error("jwks must be an object whose keys member is an array of 1 to 32 objects")]
    KeysMalformed,
    /// CIMD -02 "Client Metadata"; RFC 7518 section 6: no private or symmetric key material.
    #[error("jwks contains private or symmetric key material: consider that key compromised")]
    KeysPrivate,
    /// CIMD -02 "Security Considerations": every inner URL is https.
    #[error("{0} must be an https URL (http only on a loopback host, in development)")]
    Link(&'static str),
    /// RFC 7591 section 2: an array of strings.
    #[error("redirect_uris must be an array of at most 32 strings")]
    Redirects,
    /// RFC 6749 section 3.1.2: an absolute URI without a fragment.
    #[error("redirect_uris contains something that is not an absolute URI without a fragment")]
    RedirectMalformed,
    /// CIMD -02 "Security Considerations": no scheme that runs code or shows local content.
    #[error("redirect_uris contains a scheme that runs code or opens local content")]
    RedirectScheme,
    /// RFC 9700 section 2.6: http only for a native client on the loopback interface.
    #[error("redirect_uris contains an http URI whose host is not loopback")]
    RedirectPlain,
    /// RFC 7591 section 2; bounded because it is shown to the user.
    #[error("client_name must be a text of 1 to 100 characters without control or direction characters")]
    Name,
    /// RFC 6749 section 3.3.
    #[error("scope must be a text of space-separated scope tokens, at most 1024 bytes")]
    Scope,
}

/// Checks the URL that names a client, before anything is fetched from it.
///
/// `allow_loopback` lets http pass on a loopback host; only a server whose own issuer is loopback sets it.
///
/// # Errors
/// The rule of CIMD "Client Identifier" that the URL breaks.
pub fn check_url(text: &str, allow_loopback: bool) -> Result<Url, CimdError> {
    let url = absolute(text).map_err(CimdError::Url)?;
    if !text.is_ascii() {
        return Err(CimdError::UrlNotAscii);
    }
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
    if path.bytes().all(|b| b == b'/') {
        return Err(CimdError::UrlPath);
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
/// The first rule that is broken; a document with an error must be neither used nor cached.
pub fn judge(url: &str, body: &Value, allow_loopback: bool) -> Result<Document, CimdError> {
    check_url(url, allow_loopback)?;
    let Value::Object(members) = body else { return Err(CimdError::NotAnObject) };
    if members.get("client_id").and_then(Value::as_str) != Some(url) {
        return Err(CimdError::ClientId);
    }
    if members.contains_key("client_secret") || members.contains_key("client_secret_expires_at") {
        return Err(CimdError::Secret);
    }
    let auth_method = auth_method(members)?;
    let keys = keys(members, allow_loopback)?;
    if auth_method == AuthMethod::PrivateKeyJwt && keys == Keys::None {
        return Err(CimdError::KeysMissing);
    }
    Ok(Document {
        client_id: url.to_owned(),
        client_name: name(members)?,
        auth_method,
        keys,
        redirect_uris: redirect_uris(members)?,
        client_uri: link(members, "client_uri", allow_loopback)?,
        logo_uri: link(members, "logo_uri", allow_loopback)?,
        tos_uri: link(members, "tos_uri", allow_loopback)?,
        policy_uri: link(members, "policy_uri", allow_loopback)?,
        scope: scope(members)?,
    })
}

/// A member that says something: null counts as absent.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn auth_method(members: &Map<String, Value>) -> Result<AuthMethod, CimdError> {
    let method = member(members, "token_endpoint_auth_method").ok_or(CimdError::MethodMissing)?;
    match method.as_str() {
        Some("none") => Ok(AuthMethod::Public),
        Some("private_key_jwt") => Ok(AuthMethod::PrivateKeyJwt),
        Some("client_secret_basic" | "client_secret_post" | "client_secret_jwt") => Err(CimdError::MethodSecret),
        _ => Err(CimdError::MethodUnknown),
    }
}

fn keys(members: &Map<String, Value>, allow_loopback: bool) -> Result<Keys, CimdError> {
    let at = link(members, "jwks_uri", allow_loopback)?;
    match (member(members, "jwks"), at) {
        (Some(_), Some(_)) => Err(CimdError::KeysTwice),
        (Some(set), None) => public_set(set).map(|()| Keys::Inline(set.clone())),
        (None, Some(url)) => Ok(Keys::At(url)),
        (None, None) => Ok(Keys::None),
    }
}

/// A JWK set in which every key is public.
fn public_set(set: &Value) -> Result<(), CimdError> {
    /// RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1.
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    let keys = set.get("keys").and_then(Value::as_array).ok_or(CimdError::KeysMalformed)?;
    if keys.is_empty() || keys.len() > MAX_ENTRIES {
        return Err(CimdError::KeysMalformed);
    }
    for key in keys {
        let key = key.as_object().ok_or(CimdError::KeysMalformed)?;
        if PRIVATE.iter().any(|name| key.contains_key(*name)) {
            return Err(CimdError::KeysPrivate);
        }
    }
    Ok(())
}

/// An https URL among the members. Pages may be named with a fragment, so it does not count against them.
fn link(members: &Map<String, Value>, name: &'static str, allow_loopback: bool) -> Result<Option<Url>, CimdError> {
    let Some(value) = member(members, name) else { return Ok(None) };
    let refused = CimdError::Link(name);
    let Some(text) = value.as_str() else { return Err(refused) };
    let (base, fragment) = text.split_once('#').unwrap_or((text, ""));
    let Ok(mut url) = absolute(base) else { return Err(refused) };
    if !(url.scheme() == "https" || (url.scheme() == "http" && allow_loopback && is_loopback_host(&url))) {
        return Err(refused);
    }
    if !fragment.is_empty() {
        url.set_fragment(Some(fragment));
    }
    Ok(Some(url))
}

fn redirect_uris(members: &Map<String, Value>) -> Result<Vec<String>, CimdError> {
    let Some(value) = member(members, "redirect_uris") else { return Ok(Vec::new()) };
    let list = value.as_array().filter(|list| list.len() <= MAX_ENTRIES).ok_or(CimdError::Redirects)?;
    list.iter()
        .map(|entry| {
            let text = entry.as_str().ok_or(CimdError::Redirects)?;
            redirect_uri(text).map(|()| text.to_owned())
        })
        .collect()
}

/// Native clients bring schemes of their own, so what is refused is a list: the schemes a browser treats as code or content.
fn redirect_uri(text: &str) -> Result<(), CimdError> {
    const DANGEROUS: [&str; 8] =
        ["javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source"];
    if text.len() > super::ids::MAX_URL || text.bytes().any(|b| b <= b' ' || b >= 0x7f || b == b'\\') {
        return Err(CimdError::RedirectMalformed);
    }
    let url = Url::parse(text).map_err(|_| CimdError::RedirectMalformed)?;
    if DANGEROUS.contains(&url.scheme()) {
        return Err(CimdError::RedirectScheme);
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(CimdError::RedirectMalformed);
    }
    if url.scheme() == "http" && !is_loopback_host(&url) {
        return Err(CimdError::RedirectPlain);
    }
    Ok(())
}

fn name(members: &Map<String, Value>) -> Result<Option<String>, CimdError> {
    let Some(value) = member(members, "client_name") else { return Ok(None) };
    let text = value.as_str().ok_or(CimdError::Name)?.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(|c| c.is_control() || turns_text(c)) {
        return Err(CimdError::Name);
    }
    Ok(Some(text.to_owned()))
}

/// Characters that reorder or hide their neighbours, with which a name could rewrite the sentence it stands in.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

fn scope(members: &Map<String, Value>) -> Result<Option<String>, CimdError> {
    let Some(value) = member(members, "scope") else { return Ok(None) };
    let text = value.as_str().filter(|text| text.len() <= MAX_SCOPE).ok_or(CimdError::Scope)?;
    if text.bytes().any(|b| !(b' '..=b'~').contains(&b) || b == b'"' || b == b'\\') {
        return Err(CimdError::Scope);
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests;
