//! Key sets and clients' documents that are not as they should be, as whoever plays the issuer serves them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CIMD, JWKS, Publisher};
use crate::lab::flaws::{Cast, Document, Draft, ELSEWHERE, Flaw, Kind, Response, Signer};

/// The answer to whoever fetches an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// The address.
    pub url: String,
    /// Its status.
    pub status: u16,
    /// What it is called; nothing where there is no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Where it is said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The body, byte for byte.
    pub body: String,
    /// So many spaces come after it, which nobody has to read in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by_spaces: Option<usize>,
}

/// What is served where something has a flaw.
pub(super) struct Spoilt {
    pub(super) served: Vec<Served>,
    /// The key set is that of before the last change.
    is_stale: bool,
}

impl Served {
    fn new(url: String, document: &Document) -> Self {
        let spaces = if let Response::Huge(kib) = document.response { usize::from(kib) * 1024 } else { 0 };
        let redirects = document.response == Response::Redirect;
        // Made of text alone, so nothing is lost.
        let body = String::from_utf8_lossy(&document.body()).trim_end_matches(' ').to_owned();
        Self {
            url,
            status: document.status(),
            content_type: (!redirects).then(|| document.content_type().to_owned()),
            location: redirects.then(|| ELSEWHERE.to_owned()),
            body,
            followed_by_spaces: (spaces > 0).then_some(spaces),
        }
    }
}

/// What is served of an issuer whose key set or client's document has a flaw; nothing where that takes a server and time.
pub(super) fn spoilt(cast: &Cast, flaw: &Flaw) -> Option<Spoilt> {
    let issuer = &cast.issuer;
    let published = Publisher::of(issuer);
    let (url, good) = match flaw.kind {
        Kind::Jwks => (issuer.url.at(JWKS), Document::new(published.jwks.clone())),
        Kind::Cimd => (issuer.url.at(CIMD), Document::new(published.client_metadata)),
        _ => return None,
    };
    let mut spoilt = flaw.spoil(&good, cast)?;
    let is_stale = spoilt.response == Response::Stale;
    if matches!(spoilt.response, Response::Slow(_) | Response::Drip) {
        return None;
    }
    if is_stale {
        spoilt.set("keys", json!([issuer.removed.public_jwk(), issuer.key.public_jwk()]));
    }
    let mut served = vec![Served::new(url, &spoilt)];
    if spoilt.response == Response::Redirect {
        served.push(Served::new(ELSEWHERE.to_owned(), &good));
    }
    // Where a document leads to keys, there are some.
    let leads_to = spoilt.members.get("jwks_uri").and_then(|uri| uri.as_str());
    let own = (format!("{}/jwks.json", issuer.url), published.jwks);
    let forged = (format!("{}/jwks.json", cast.others.url), json!({"keys": [issuer.stranger.public_jwk()]}));
    let keys = [own, forged].into_iter().find(|(at, _)| leads_to == Some(at.as_str()));
    served.extend(keys.map(|(at, keys)| Served::new(at, &Document::new(keys))));
    Some(Spoilt { served, is_stale })
}

/// The key that signs is the one that is published, unless the flaw is that it is not yet.
pub(super) fn sign(good: &mut Draft, spoilt: &Spoilt, cast: &Cast) {
    if spoilt.is_stale {
        good.head("kid", cast.issuer.next.kid());
        good.signer = Signer::Next;
    }
}
