//! Where a service is told of withdrawals, and what it calls them.

use super::super::claims::REVOKED_EVENT;
use super::super::notice::Format;
use super::members::Found;
use super::reader::{IDENTITY, Reader};
use super::{Channel, Said};

#[cfg(test)]
mod tests;

/// What the withdrawal was called in a draft before v0.2.
const WITHOUT_AUTH: &str = "https://schemas.workos.com/events/agent/identity/assertion/revoked";
/// What a signed token as bearer is called: in the registry, by Auth0, and as what it is sent as.
const SIGNED: [&str; 3] = ["private_key_jwt", "global-token-revocation+jwt", "bearer"];
/// Where a document says something else than an endpoint by an address.
const NOT_FOR_NOTICES: [&str; 3] = ["authorization_endpoint", "token_endpoint", "service_documentation"];

impl<'a> Reader<'a> {
    /// Who could be told of a withdrawal, in each format.
    pub(super) fn notices(&mut self, identity: Option<&str>) -> Vec<Said<Channel>> {
        let names = self.names_of_the_withdrawal();
        let named = names.as_ref().map(|names| !names.is_empty());
        let event = names.filter(|names| *names == [WITHOUT_AUTH]).map(|_| WITHOUT_AUTH.to_owned());
        let mut notices = Vec::new();
        if let Some(found) = self.members.agent("events_endpoint")
            && let Some(url) = self.notice_address(&found, identity)
        {
            let why = match (named, &event) {
                (Some(false), _) => {
                    "events_endpoint takes security event tokens, but events_supported does not name the withdrawal, so a 202 may mean that it was passed over"
                }
                (_, Some(_)) => {
                    "events_endpoint takes security event tokens, and calls the withdrawal by the name of an early draft"
                }
                _ => "events_endpoint takes security event tokens (auth.md v0.3 and later)",
            };
            let named = named != Some(false);
            notices.push(
                found.said(Channel { format: Format::SecEvent, endpoint: url, event: event.clone(), named }, why),
            );
        }
        for name in ["revocation_uri", "revocation_endpoint"] {
            let Some(found) = self.members.agent(name) else { continue };
            let Some(url) = self.notice_address(&found, identity) else { continue };
            let rfc7009 = self.members.top("revocation_endpoint").is_some_and(|top| top.value == found.value);
            if named != Some(true) && (rfc7009 || name == "revocation_endpoint") {
                self.remarks.add(&found, "it is for clients that revoke their own tokens (RFC 7009): events_supported does not name the withdrawal");
                continue;
            }
            if named == Some(false) {
                self.remarks.add(&found, "events_supported is there and does not name the withdrawal");
                continue;
            }
            let why = match named {
                Some(_) => "events_supported names the withdrawal (auth.md v0.1)",
                None => "no events are named, so it may as well be for clients that revoke their own tokens (RFC 7009)",
            };
            notices.push(found.said(
                Channel { format: Format::LogoutJwt, endpoint: url, event: event.clone(), named: named.is_some() },
                why,
            ));
            break;
        }
        notices.extend(self.global_revocation(identity));
        notices
    }

    /// Where it takes Global Token Revocation, unless it says that it takes no signed tokens there (sections 3.5 and 6).
    fn global_revocation(&mut self, identity: Option<&str>) -> Option<Said<Channel>> {
        let place = |name: &str| self.members.top(name).or_else(|| self.members.agent(name));
        let found = place("global_token_revocation_endpoint")?;
        let methods = place("global_token_revocation_endpoint_auth_methods_supported");
        let endpoint = self.notice_address(&found, identity)?;
        if let Some((methods, words)) = methods.and_then(|found| Some((found.clone(), found.words()?)))
            && !words.iter().any(|word| SIGNED.contains(&word.to_ascii_lowercase().as_str()))
        {
            self.remarks.add(&methods, "it takes no signed token there, which is how this server says who it is");
            return None;
        }
        let channel = Channel { format: Format::GlobalRevocation, endpoint, event: None, named: true };
        Some(found.said(channel, "it takes Global Token Revocation"))
    }

    /// What `events_supported` calls the withdrawal, of the words that are used for it; `None` where there is no such list.
    fn names_of_the_withdrawal(&self) -> Option<Vec<&'static str>> {
        let (_, words) = self.members.agent_words(&["events_supported"])?;
        let names = [REVOKED_EVENT, "revocation", WITHOUT_AUTH];
        Some(names.into_iter().filter(|name| words.iter().any(|word| word == name)).collect())
    }

    /// An address that is for nothing else.
    fn notice_address(&mut self, found: &Found<'a>, identity: Option<&str>) -> Option<String> {
        let url = self.address(found)?;
        let other =
            NOT_FOR_NOTICES.iter().find_map(|name| self.members.top(name).filter(|other| other.value == found.value));
        let other = other.or_else(|| {
            let names = ["claim_uri", "claim_endpoint"].iter().chain(&IDENTITY);
            names.filter_map(|name| self.members.agent(name)).find(|other| other.value == found.value)
        });
        if let Some(other) = other
            .map(|other| other.member)
            .or_else(|| (identity == Some(&url)).then(|| "the endpoint for assertions".into()))
        {
            self.remarks.add(found, format!("it is the same address as {other}, so no notice is sent there"));
            return None;
        }
        Some(url)
    }
}
