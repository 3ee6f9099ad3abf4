//! Reads the documents that count, field by field.

use serde_json::Value;

use super::super::client_metadata::JWT_BEARER;
use super::super::display_name::DisplayName;
use super::super::ids::{Audience, absolute};
use super::super::members::quote;
use super::super::scope;
use super::documents::Proof;
use super::endpoint::{is_under, usable};
use super::members::{Found, Members};
use super::{Dialect, ID_JAG_PROFILE, Said, Takes, Understood, is_slash_apart, offers, remarks};

/// Where assertions go, in the order of preference: the newest name, that of v0.1, that of a draft that was never released.
pub(super) const IDENTITY: [&str; 3] = ["identity_endpoint", "register_uri", "registration_endpoint"];
/// What the kinds of registration are called, the first as the texts have it.
const IDENTITY_TYPES: [&str; 3] = ["identity_types_supported", "supported_identity_types", "identity_types"];
/// The same for credentials.
const CREDENTIAL_TYPES: [&str; 3] = ["credential_types_supported", "supported_credential_types", "credential_types"];
/// What services call ID-JAGs where the texts have a URN.
const ID_JAG_NAMES: [&str; 3] = ["urn:ietf:params:oauth:token-type:id-jag", "id_jag", "id-jag"];
/// The grant that v0.4 to v0.7 add at the token endpoint.
const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";

/// Reads the documents of one service.
pub(super) struct Reader<'a> {
    pub(super) members: Members<'a>,
    pub(super) remarks: remarks::Remarks,
}

impl<'a> Reader<'a> {
    pub(super) fn new(issuer: &'a Audience, proof: &'a Proof<'a>) -> Self {
        let members = Members::new(issuer, proof);
        Self { members, remarks: remarks::Remarks::of(&members) }
    }

    /// The address that a member holds, if it can be used; else why not is kept.
    pub(super) fn address(&mut self, found: &Found<'a>) -> Option<String> {
        usable(found.value, self.members.issuer).map_err(|why| self.remarks.add(found, why)).ok()
    }

    pub(super) fn read(mut self, asked: &Audience, proof: &Proof<'_>) -> Understood {
        let endpoint = self.endpoint();
        let token_endpoint = self.members.top("token_endpoint");
        let token_endpoint = token_endpoint.and_then(|found| Some((self.address(&found)?, found)));
        let id_jag = self.id_jag(endpoint.is_some());
        let dialect = self.dialect(endpoint.as_ref(), token_endpoint.as_ref().map(|(_, found)| found), &id_jag);
        let notices = self.notices(endpoint.as_ref().and_then(|said| said.value.as_deref()));
        let endpoint = match (dialect.value, endpoint, token_endpoint) {
            (Dialect::Plain, _, Some((url, found))) => {
                found.said(Some(url), "assertions go to the token endpoint, as a JWT bearer grant (RFC 7523)")
            }
            (Dialect::V01 | Dialect::Flat | Dialect::Nested, Some(mut said), token) => {
                if let Some((token, _)) = token
                    && said.value.as_deref().is_some_and(|own| is_slash_apart(own, &token))
                {
                    said.why =
                        "it is the token endpoint as well, so assertions go there as a JWT bearer grant (RFC 7523)"
                            .into();
                }
                said
            }
            _ => Said::nowhere(None, "no document names one that can be used"),
        };
        if id_jag.value == Takes::No
            && let Some(found) = self.members.agent("events_endpoint")
        {
            self.remarks.add(&found, "it is offered although no assertions are taken");
        }
        let takes_instead = (id_jag.value == Takes::No).then(|| offers::instead(&self.members)).flatten();
        Understood {
            asked: asked.as_str().to_owned(),
            issuer: Some(self.members.issuer.as_str().to_owned()),
            documents: proof.readings.clone(),
            dialect,
            id_jag,
            endpoint,
            notices,
            resources: self.resources(),
            scopes: self.scopes(),
            identity_types: self.list(&IDENTITY_TYPES, "the kinds of registration that it names"),
            credential_types: self.credential_types(),
            refuses: self.list(&["unsupported_identity_types"], "it says that it does not support these"),
            name: self.name(),
            takes_instead,
            remarks: self.remarks.kept(),
        }
    }

    /// Where assertions are posted, by the first name whose address can be used.
    fn endpoint(&mut self) -> Option<Said<Option<String>>> {
        let claim = ["claim_endpoint", "claim_uri"].iter().find_map(|name| self.members.agent(name));
        let mut chosen: Option<Said<Option<String>>> = None;
        for name in IDENTITY {
            let Some(found) = self.members.agent(name) else { continue };
            let Some(url) = self.address(&found) else { continue };
            if claim.as_ref().is_some_and(|claim| claim.value == found.value) {
                let same = claim.as_ref().map(|claim| claim.member.clone()).unwrap_or_default();
                self.remarks.add(
                    &found,
                    format!("it is the same address as {same}, so it is a page for people or stands for nothing"),
                );
                continue;
            }
            if self.members.top("authorization_endpoint").is_some_and(|page| page.value == found.value) {
                self.remarks.add(&found, "it is the authorization endpoint, where people sign in");
                continue;
            }
            match &chosen {
                None => chosen = Some(found.said(Some(url), format!("{name} is where assertions are posted"))),
                Some(first) if first.value.as_ref() == Some(&url) => {
                    self.remarks.add(&found, "it is the same address by another name");
                }
                Some(_) => self.remarks.add(&found, "it is passed over for the newer name that is there as well"),
            }
        }
        chosen
    }

    fn dialect(
        &self,
        endpoint: Option<&Said<Option<String>>>,
        token_endpoint: Option<&Found<'a>>,
        id_jag: &Said<Takes>,
    ) -> Said<Dialect> {
        let grants = self.members.top("grant_types_supported");
        let Some(endpoint) = endpoint else {
            return match token_endpoint {
                Some(found) if id_jag.value != Takes::No => {
                    found.said(Dialect::Plain, "there is a token endpoint, and no endpoint of auth.md")
                }
                Some(_) => Said::nowhere(Dialect::None, "there is a token endpoint, but it takes no ID-JAGs"),
                None => Said::nowhere(Dialect::None, "no document names an endpoint that can be used"),
            };
        };
        let said = |dialect, why: &str| Said {
            value: dialect,
            document: endpoint.document.clone(),
            member: endpoint.member.clone(),
            why: why.to_owned(),
        };
        if endpoint.member.as_deref().is_some_and(|member| member.ends_with("register_uri")) {
            return said(Dialect::V01, "register_uri is the name of v0.1");
        }
        let is_flat =
            grants.as_ref().and_then(Found::words).is_some_and(|words| words.iter().any(|w| w == CLAIM_GRANT));
        if let (true, Some(grants)) = (is_flat, &grants) {
            return grants.said(Dialect::Flat, "only v0.4 to v0.7 have the claim grant");
        }
        if self.members.agent("events_endpoint").is_none() && self.members.agent("revocation_uri").is_some() {
            return said(Dialect::Flat, "it has the endpoint of v0.2 and later beside the notices of v0.1");
        }
        said(Dialect::Nested, "it has the members of the newest revision; those of v0.2 and v0.3 look the same")
    }

    /// Whether it takes ID-JAGs: what it refuses comes first, then the list that is authoritative (auth.md, "Discover").
    fn id_jag(&self, has_endpoint: bool) -> Said<Takes> {
        let names = |words: &[String], more: &[&str]| {
            words.iter().any(|word| ID_JAG_NAMES.contains(&word.as_str()) || more.contains(&word.as_str()))
        };
        if let Some(found) = self.members.agent("available").filter(|found| *found.value == Value::Bool(false)) {
            return found.said(Takes::No, "it says that it is not available");
        }
        if let Some((found, words)) = self.members.agent_words(&["unsupported_identity_types"])
            && names(&words, &["identity_assertion", "cross_app_access"])
        {
            return found.said(Takes::No, "it says that it does not support them");
        }
        if let Some((found, words)) = self.members.agent_words(&["assertion_types_supported"]) {
            return if names(&words, &[]) {
                found.said(Takes::Yes, "it lists them among the assertions it takes")
            } else {
                found.said(Takes::No, "it lists the assertions it takes, and ID-JAGs are not among them")
            };
        }
        let profiles = self.members.top("authorization_grant_profiles_supported");
        let profile =
            profiles.filter(|found| found.words().is_some_and(|words| words.iter().any(|w| w == ID_JAG_PROFILE)));
        if let Some((found, words)) = self.members.agent_words(&IDENTITY_TYPES) {
            if names(&words, &["identity_assertion"]) {
                return found.said(Takes::Yes, "it takes identity assertions, and does not say of which kind");
            }
            if profile.is_none() {
                return found
                    .said(Takes::No, "it lists the kinds of registration it takes, and assertions are not among them");
            }
        }
        if let Some(found) = profile {
            return found.said(Takes::Yes, "it lists the grant profile of ID-JAGs");
        }
        match self.members.top("grant_types_supported").and_then(|found| Some((found.words()?, found))) {
            Some((words, found)) if words.iter().any(|word| word == JWT_BEARER) => {
                found.said(Takes::Unsaid, "it takes JWT bearer grants, and does not say of which kind")
            }
            // The first step of v0.1 is no grant.
            Some((_, found)) if !has_endpoint => {
                found.said(Takes::No, "it lists the grants it takes, and JWT bearer (RFC 7523) is not among them")
            }
            _ => Said::nowhere(Takes::Unsaid, "no document says whether it takes them"),
        }
    }

    /// What the authorization server says that it guards. A resource's own word counts for resources at the service's own host only: any
    /// resource can name any authorization server (ID-JAG draft section 9.4).
    fn resources(&mut self) -> Said<Vec<String>> {
        let own = ["protected_resources", "resource"].iter().find_map(|name| {
            let found = self.members.top(name).filter(|found| !found.value.is_null())?;
            let listed = found.words()?;
            Some((found, listed))
        });
        if let Some((found, listed)) = own {
            let (good, bad): (Vec<_>, Vec<_>) = listed.into_iter().partition(|uri| absolute(uri).is_ok());
            if !bad.is_empty() {
                self.remarks.add(&found, format!("{} is not an absolute URL", quote(&bad[0])));
            }
            if !good.is_empty() {
                return found.said(good, "the authorization server says that it guards these");
            }
        }
        for document in self.members.resource {
            let Some(value) = document.body.get("resource") else { continue };
            let found = Found { document: document.url, member: "resource".into(), value };
            match value.as_str().filter(|uri| absolute(uri).is_ok()).map(str::to_owned) {
                Some(uri) if is_under(&uri, self.members.issuer) => {
                    return found.said(
                        vec![uri],
                        "it is a resource at the service's own host that names this authorization server",
                    );
                }
                _ => self
                    .remarks
                    .add(&found, "it is not at the service's own host, and the authorization server does not list it"),
            }
        }
        Said::nowhere(Vec::new(), "none are listed, so only what is at its own origin can be asked for")
    }

    fn scopes(&self) -> Said<Vec<String>> {
        let places = [
            self.members.top("scopes_supported"),
            self.members.agent("scopes_supported"),
            self.members.resource("scopes_supported"),
        ];
        for found in places.into_iter().flatten() {
            let words =
                found.words().unwrap_or_default().into_iter().filter(|word| scope::is_token(word)).collect::<Vec<_>>();
            if !words.is_empty() {
                return found.said(words, "it names these, and may have others");
            }
        }
        Said::nowhere(Vec::new(), "none are named")
    }

    fn credential_types(&self) -> Said<Vec<String>> {
        let block = self.members.agent.and_then(|(document, block)| {
            let value = block.get("identity_assertion")?.get("credential_types_supported")?;
            let member = "agent_auth.identity_assertion.credential_types_supported".to_owned();
            Some(Found { document, member, value })
        });
        match block.and_then(|found| Some((found.words()?, found))) {
            Some((words, found)) => found.said(words, "what it gives for an assertion"),
            None => self.list(&CREDENTIAL_TYPES, "the kinds of credential that it names"),
        }
    }

    fn list(&self, names: &[&str], why: &str) -> Said<Vec<String>> {
        match self.members.agent_words(names) {
            Some((found, words)) if found.member.rsplit('.').next() == names.first().copied() => found.said(words, why),
            Some((found, words)) => found.said(words, format!("{why}, in a member of its own making")),
            None => Said::nowhere(Vec::new(), "none are named"),
        }
    }

    /// What it calls itself. Anyone can choose any name, so it is shown as that.
    fn name(&mut self) -> Said<Option<String>> {
        let Some(found) = self.members.resource("resource_name").or_else(|| self.members.top("resource_name")) else {
            return Said::nowhere(None, "it gives itself no name");
        };
        match found.value.as_str().map(DisplayName::parse) {
            Some(Ok(name)) => found.said(Some(name.as_str().to_owned()), "its own words, which prove nothing"),
            Some(Err(problem)) => {
                self.remarks.add(&found, problem.0);
                Said::nowhere(None, "it gives itself no name that can be shown")
            }
            None => Said::nowhere(None, "it gives itself no name"),
        }
    }
}
