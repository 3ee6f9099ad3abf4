//! Finding members in the documents of one service, wherever their authors put them.

use serde_json::{Map, Value};

use super::super::ids::Audience;
use super::documents::{Document, Proof};
use super::{MAX_ENTRIES, Said};

/// Blocks in which some put what belongs beside them.
const BLOCKS: [&str; 2] = ["identity_assertion", "anonymous"];

/// A member that is there, null included.
#[derive(Clone)]
pub(super) struct Found<'a> {
    pub(super) document: &'a str,
    pub(super) member: String,
    pub(super) value: &'a Value,
}

impl Found<'_> {
    pub(super) fn said<T>(&self, value: T, why: impl Into<String>) -> Said<T> {
        Said { value, document: Some(self.document.to_owned()), member: Some(self.member.clone()), why: why.into() }
    }

    /// The words that it lists; a bare text is a list of one. Whatever is no word is left out.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        let items = match self.value {
            Value::Array(items) => items.as_slice(),
            Value::String(_) => std::slice::from_ref(self.value),
            _ => return None,
        };
        let word = |text: &&str| (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let words = items.iter().filter_map(Value::as_str).filter(word).map(str::to_owned);
        Some(words.take(MAX_ENTRIES).collect())
    }
}

/// The documents of one service.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    pub(super) issuer: &'a Audience,
    /// Those that prove, in their order.
    proving: &'a [Document<'a>],
    /// Those of its resources.
    pub(super) resource: &'a [Document<'a>],
    /// Where the block of auth.md is, and the block.
    pub(super) agent: Option<(&'a str, &'a Map<String, Value>)>,
}

impl<'a> Members<'a> {
    pub(super) fn new(issuer: &'a Audience, proof: &'a Proof<'a>) -> Self {
        let block = |document: &Document<'a>| Some((document.url, document.body.get("agent_auth")?.as_object()?));
        let agent = proof.proving.iter().chain(&proof.resource).find_map(block);
        Self { issuer, proving: &proof.proving, resource: &proof.resource, agent }
    }

    /// All that count.
    pub(super) fn documents(&self) -> impl Iterator<Item = &'a Document<'a>> {
        self.proving.iter().chain(self.resource)
    }
    /// A member of the documents that prove: the first that has it.
    pub(super) fn top(&self, name: &str) -> Option<Found<'a>> {
        self.proving.iter().find_map(|document| {
            let value = document.body.get(name)?;
            Some(Found { document: document.url, member: name.to_owned(), value })
        })
    }

    /// A member of the block, or of a block inside it.
    pub(super) fn agent(&self, name: &str) -> Option<Found<'a>> {
        let (document, block) = self.agent?;
        let direct = block.get(name).map(|value| (format!("agent_auth.{name}"), value));
        let inside = || {
            BLOCKS.iter().find_map(|inner| {
                Some((format!("agent_auth.{inner}.{name}"), block.get(*inner)?.as_object()?.get(name)?))
            })
        };
        let (member, value) = direct.or_else(inside)?;
        Some(Found { document, member, value })
    }

    /// The first of some names that lists words.
    pub(super) fn agent_words(&self, names: &[&str]) -> Option<(Found<'a>, Vec<String>)> {
        names.iter().find_map(|name| {
            let found = self.agent(name)?;
            let words = found.words()?;
            Some((found, words))
        })
    }

    /// A member of a resource's document.
    pub(super) fn resource(&self, name: &str) -> Option<Found<'a>> {
        self.resource.iter().find_map(|document| {
            let value = document.body.get(name)?;
            Some(Found { document: document.url, member: name.to_owned(), value })
        })
    }
}
