//! What a service that takes no ID-JAGs takes in their place, as the end of a sentence.

use serde_json::Value;

use super::super::ids::{absolute, is_loopback_host};
use super::members::{Found, Members};

/// Most words of a list in a sentence.
const MAX_WORDS: usize = 6;

/// What it offers, by its own words; `None` where it offers nothing.
pub(super) fn instead(members: &Members<'_>) -> Option<String> {
    let words = |found: Option<Found<'_>>| found.and_then(|found| found.words()).unwrap_or_default();
    let named = ["identity_types_supported", "supported_identity_types", "identity_types"];
    let types = named.iter().find_map(|name| members.agent(name));
    let types: Vec<String> = words(types).into_iter().filter(|kind| is_plain(kind) && kind != "none").collect();
    if !types.is_empty() {
        return Some(match portal(members) {
            Some(portal) => format!("{}: {portal}", listed(&types)),
            None => listed(&types),
        });
    }
    if members.agent.is_some() {
        return None;
    }
    let grants: Vec<String> =
        words(members.top("grant_types_supported")).into_iter().filter(|grant| is_plain(grant)).collect();
    let plural = if grants.len() == 1 { "grant" } else { "grants" };
    (!grants.is_empty()).then(|| format!("the {plural} {}", listed(&grants)))
}

/// The page where people get what agents use: one address that stands for registering and for claiming.
fn portal(members: &Members<'_>) -> Option<String> {
    let address = |name: &str| {
        let found = members.agent(name)?;
        found
            .value
            .as_str()
            .filter(|text| absolute(text).is_ok_and(|url| url.scheme() == "https" || is_loopback_host(&url)))
            .map(str::to_owned)
    };
    let page = ["identity_endpoint", "register_uri"].into_iter().find_map(address)?;
    let claim = ["claim_endpoint", "claim_uri"].into_iter().find_map(address)?;
    let credentials = ["credential_types_supported", "supported_credential_types", "credential_types"];
    let keys = credentials.iter().filter_map(|name| members.agent(name)).any(|found| has(found.value, "api_key"));
    let what = if keys { "keys" } else { "credentials" };
    (page == claim).then(|| format!("{what} by its portal {page}"))
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|items| items.iter().any(|item| item == word))
}

/// A word that can stand in a sentence without doing anything to it.
fn is_plain(word: &str) -> bool {
    word.len() <= 80 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:+/".contains(&b))
}

fn listed(words: &[String]) -> String {
    let shown = &words[..words.len().min(MAX_WORDS)];
    match shown {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
