//! A document as an issuer or a client serves it: what it says, and how it comes over the wire.

use serde_json::{Map, Value};

/// An address that is somebody else's.
pub const ELSEWHERE: &str = "https://elsewhere.lab.invalid/document.json";

/// An answer to whoever fetches a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its members; of a key set, `keys` among them.
    pub members: Map<String, Value>,
    /// How it is served.
    pub response: Response,
}

/// How a document is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// 200, as JSON, at once.
    Usual,
    /// Another status, with the document in the body.
    Status(u16),
    /// A redirect to where the good one is.
    Redirect,
    /// After a wait of so many seconds.
    Slow(u16),
    /// A byte of it each second.
    Drip,
    /// Followed by so many KiB of white space, which is JSON still.
    Huge(u16),
    /// Cut off in the middle.
    Truncated,
    /// A page of HTML.
    Html,
    /// The document, called something else.
    Typed(&'static str),
    /// As it was before the keys changed, however it is asked for.
    Stale,
}

impl Document {
    /// One that is served as it should be.
    #[must_use]
    pub fn new(value: Value) -> Self {
        let members = if let Value::Object(members) = value { members } else { Map::new() };
        Self { members, response: Response::Usual }
    }

    /// A key of the set.
    pub fn key(&mut self, n: usize) -> Option<&mut Map<String, Value>> {
        self.members.get_mut("keys")?.as_array_mut()?.get_mut(n)?.as_object_mut()
    }

    /// The keys of the set.
    pub fn keys(&mut self) -> Option<&mut Vec<Value>> {
        self.members.get_mut("keys")?.as_array_mut()
    }

    /// Sets a member.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.to_owned(), value.into());
    }

    /// Which parts of two documents differ, by the names that a flaw declares them by.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (a, b) = (&self.members, &other.members);
        let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let differs = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
        let mut found: Vec<String> = differs.map(|name| format!("members.{name}")).collect();
        found.extend((self.response != other.response).then(|| "response".to_owned()));
        found
    }

    /// The bytes of its body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let json = Value::Object(self.members.clone()).to_string();
        match self.response {
            Response::Html => b"<!doctype html><title>Sign in</title><p>Please sign in.".to_vec(),
            Response::Redirect => Vec::new(),
            Response::Truncated => json.as_bytes()[..json.len() / 2].to_vec(),
            Response::Huge(kib) => [json.into_bytes(), vec![b' '; usize::from(kib) * 1024]].concat(),
            _ => json.into_bytes(),
        }
    }

    /// What it is called on the wire.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self.response {
            Response::Html => "text/html",
            Response::Typed(name) => name,
            _ => "application/json",
        }
    }

    /// The status it comes with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.response {
            Response::Status(status) => status,
            Response::Redirect => 302,
            _ => 200,
        }
    }
}
