//! Which documents there are, and what each of them proves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::super::ids::Audience;
use super::super::members::quote;
use super::is_slash_apart;

vocabulary! {
    /// A kind of metadata document, by its name under `/.well-known/`.
    pub enum Kind {
        /// RFC 8414.
        AuthorizationServer = "oauth-authorization-server",
        /// OpenID Connect Discovery.
        OpenId = "openid-configuration",
        /// RFC 9728.
        ProtectedResource = "oauth-protected-resource",
    }
}

/// Where a document would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub kind: Kind,
    /// Where.
    pub url: String,
}

/// What was found at a place.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Which document.
    pub kind: Kind,
    /// Where.
    pub url: String,
    /// The document, or why there is none, in words for whoever asked.
    pub found: Result<Arc<Value>, String>,
}

vocabulary! {
    /// What a document is worth.
    pub enum Verdict {
        /// It says whose it is, and is where that one's document has to be.
        Proves = "proves",
        /// It is a resource's, and is read beside those that prove.
        Read = "read",
        /// It says nothing that can be relied on.
        ProvesNothing = "proves nothing",
        /// There is none.
        Missing = "missing",
    }
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Its address.
    pub document: String,
    /// What it is worth.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

/// Where the documents of an identifier are: inserted between host and path (RFC 8414 section 3.1, RFC 9728 section 3.1), and appended, as
/// OpenID Connect Discovery section 4 has it and auth.md's own client does it.
#[must_use]
pub fn places(audience: &Audience) -> Vec<Place> {
    let Ok(url) = Url::parse(audience.as_str()) else { return Vec::new() };
    let (origin, path) = (url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
    let inserted = |kind: Kind| Place { kind, url: format!("{origin}/.well-known/{}{path}", kind.as_str()) };
    let appended = |kind: Kind| Place { kind, url: format!("{origin}{path}/.well-known/{}", kind.as_str()) };
    let mut places = vec![
        inserted(Kind::AuthorizationServer),
        appended(Kind::AuthorizationServer),
        appended(Kind::OpenId),
        inserted(Kind::ProtectedResource),
    ];
    places.dedup();
    places
}

/// The authorization server that the resource's metadata name, if it is another one than what was asked for.
#[must_use]
pub fn hint(asked: &Audience, looked: &[Looked]) -> Option<Audience> {
    let resources = looked.iter().filter(|document| document.kind == Kind::ProtectedResource);
    let named = resources.filter_map(|document| {
        let body = document.found.as_ref().ok()?.as_object()?;
        about(asked, body).ok()?;
        authorization_servers(body).into_iter().next()
    });
    named.into_iter().find(|named| !is_slash_apart(named.as_str(), asked.as_str()))
}

/// What `authorization_servers` lists. Some name the metadata document in the place of the issuer.
fn authorization_servers(body: &Map<String, Value>) -> Vec<Audience> {
    let listed = body.get("authorization_servers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    listed.iter().take(super::MAX_ENTRIES).filter_map(|entry| issuer_of(entry.as_str()?)).collect()
}

fn issuer_of(entry: &str) -> Option<Audience> {
    let wells = [Kind::AuthorizationServer, Kind::OpenId].map(|kind| format!("/.well-known/{}", kind.as_str()));
    let cut = wells.iter().find_map(|well| {
        let (before, path) = entry.split_once(well.as_str())?;
        Some(format!("{before}{path}"))
    });
    Audience::parse(cut.as_deref().unwrap_or(entry)).ok()
}

/// Judges whether a resource's metadata are about what was asked for (RFC 9728 section 3.3). A path below it is let pass: many have one
/// document at the root for whatever lies beneath.
fn about(asked: &Audience, body: &Map<String, Value>) -> Result<(), String> {
    let named = body.get("resource").and_then(Value::as_str).ok_or("it names no resource (RFC 9728 section 3.3)")?;
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
    if origin(named).is_some() && origin(named) == origin(asked.as_str()) {
        return Ok(());
    }
    Err(format!("it is about another resource, {} (RFC 9728 section 3.3)", quote(named)))
}

/// A document that counts.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) url: &'a str,
    pub(super) body: &'a Map<String, Value>,
}

/// What the documents prove.
pub(super) struct Proof<'a> {
    /// Whose they are, as they spell it.
    pub(super) issuer: Option<Audience>,
    /// Those that say so.
    pub(super) proving: Vec<Document<'a>>,
    /// Those of resources that name that issuer.
    pub(super) resource: Vec<Document<'a>>,
    pub(super) readings: Vec<Reading>,
}

impl<'a> Proof<'a> {
    pub(super) fn of(target: &Audience, looked: &'a [Looked]) -> Self {
        fn named(looked: &Looked) -> Option<&str> {
            looked.found.as_ref().ok()?.get("issuer").and_then(Value::as_str)
        }
        let servers = || looked.iter().filter(|document| document.kind != Kind::ProtectedResource);
        // Byte for byte; else the one spelling that differs by the slash at its end.
        let exact = servers().filter_map(named).find(|named| *named == target.as_str());
        let alike = || servers().filter_map(named).find(|named| is_slash_apart(named, target.as_str()));
        let issuer = exact.or_else(alike).and_then(|issuer| Audience::parse(issuer).ok());
        let mut proof = Self { issuer, proving: Vec::new(), resource: Vec::new(), readings: Vec::new() };
        for document in looked {
            let (verdict, why) = proof.judge(target, document);
            proof.readings.push(Reading { document: document.url.clone(), verdict, why });
        }
        proof
    }

    fn judge(&mut self, target: &Audience, looked: &'a Looked) -> (Verdict, String) {
        let body = match looked.found.as_deref() {
            Ok(Value::Object(body)) => body,
            Ok(_) => return (Verdict::ProvesNothing, "it is not a JSON object".to_owned()),
            Err(why) => return (Verdict::Missing, why.clone()),
        };
        let document = Document { url: &looked.url, body };
        if looked.kind == Kind::ProtectedResource {
            return self.judge_resource(target, document);
        }
        let Some(named) = body.get("issuer").and_then(Value::as_str) else {
            return (Verdict::ProvesNothing, "it names no issuer (RFC 8414 section 3.3)".to_owned());
        };
        if self.issuer.as_ref().is_none_or(|issuer| issuer.as_str() != named) {
            return (
                Verdict::ProvesNothing,
                format!("it names another issuer, {} (RFC 8414 section 3.3)", quote(named)),
            );
        }
        self.proving.push(document);
        if named == target.as_str() {
            return (Verdict::Proves, "its issuer is what was asked for, byte for byte".to_owned());
        }
        let slash = if named.ends_with('/') { "has a slash" } else { "has no slash" };
        (
            Verdict::Proves,
            format!("its issuer is what was asked for, but {slash} at its end, as assertions will say it"),
        )
    }

    fn judge_resource(&mut self, target: &Audience, document: Document<'a>) -> (Verdict, String) {
        let listed = authorization_servers(document.body);
        if listed.is_empty() {
            return (Verdict::ProvesNothing, "it names no authorization server".to_owned());
        }
        let ours =
            self.issuer.as_ref().filter(|issuer| listed.iter().any(|a| is_slash_apart(a.as_str(), issuer.as_str())));
        if ours.is_some() {
            self.resource.push(document);
            return (Verdict::Read, "it is a resource's, and names this authorization server".to_owned());
        }
        if let Some(named) = listed.iter().find(|named| is_slash_apart(named.as_str(), target.as_str())) {
            let named = quote(named.as_str());
            return (Verdict::ProvesNothing, format!("it names {named}, whose own metadata proves nothing"));
        }
        if let Err(why) = about(target, document.body) {
            return (Verdict::ProvesNothing, why);
        }
        (Verdict::ProvesNothing, format!("it names another authorization server, {}", quote(listed[0].as_str())))
    }
}
