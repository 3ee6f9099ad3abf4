//! What is understood of a service that nobody declared, from the metadata that it publishes: field by field, each with the document it
//! came from and why. Pure: documents are fetched elsewhere.
//!
//! Everybody writes these documents by hand, from different revisions of different texts, so nothing in them is taken for granted: what
//! cannot be used is passed over, and the reason is kept. Trust comes from none of it. A document proves one thing only, that whoever holds
//! its address says it (RFC 8414 section 3.3).

mod channels;
mod documents;
mod endpoint;
mod members;
mod offers;
mod reader;
mod remarks;
#[cfg(test)]
mod tests;

pub use documents::{Kind, Looked, Place, Reading, Verdict, hint, places};

use serde::{Deserialize, Serialize};
use url::Url;

use self::documents::Proof;
use self::reader::Reader;
use super::ids::Audience;
use super::notice::Format;
use super::service_policy::{self, NoticeEndpoint, ServicePolicy};

/// The grant profile by which an authorization server says that it takes ID-JAGs (ID-JAG draft section 7.2).
pub const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// Why there is no document where nobody answers.
pub const UNREACHABLE: &str = "it cannot be reached";

/// Most entries of a list that are kept.
const MAX_ENTRIES: usize = 64;
/// Most remarks that are kept.
const MAX_REMARKS: usize = 48;

/// Something understood: what, from which member of which document, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// The document's address; none where no document says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Where in that document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Why it is understood so.
    pub why: String,
}

impl<T> Said<T> {
    fn nowhere(value: T, why: impl Into<String>) -> Self {
        Self { value, document: None, member: None, why: why.into() }
    }
}

/// Something in a document that was passed over, or is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The document's address.
    pub document: String,
    /// Where in it.
    pub member: String,
    /// What about it.
    pub why: String,
}

vocabulary! {
    /// Which protocol a service speaks.
    #[derive(Default)]
    pub enum Dialect {
        /// Posts of assertions to a `register_uri`, which answers with a credential; notices to a `revocation_uri`.
        V01 = "auth.md v0.1",
        /// Posts to an `identity_endpoint`; a claim grant at the token endpoint.
        Flat = "auth.md v0.2-v0.7",
        /// The same with the members of the newest revision.
        Nested = "auth.md nested",
        /// The ID-JAG draft alone: assertions go to the token endpoint (RFC 7523).
        Plain = "resource authorization server",
        /// Nothing that an agent could bring an assertion to.
        #[default]
        None = "none",
    }
}

impl Dialect {
    /// What it stands for, of what an operator could declare.
    #[must_use]
    pub fn stands_for(self) -> service_policy::Dialect {
        match self {
            Self::V01 | Self::Flat | Self::Nested => service_policy::Dialect::AuthMd,
            Self::Plain | Self::None => service_policy::Dialect::IdJag,
        }
    }
}

vocabulary! {
    /// Whether a service says that it takes ID-JAGs.
    #[derive(Default)]
    pub enum Takes {
        /// It says so.
        Yes = "yes",
        /// It says that it does not, or lists what it takes and these are not among it.
        No = "no",
        /// It says nothing of them.
        #[default]
        Unsaid = "not said",
    }
}

/// A way of telling a service of withdrawals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// What is sent there.
    pub format: Format,
    /// Where that is.
    pub endpoint: String,
    /// What the withdrawal is called there, if not as auth.md calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Whether the service names the withdrawal among the events it takes. Where it does not, the endpoint may be one for clients that
    /// revoke their own tokens (RFC 7009), and its 200 proves nothing.
    pub named: bool,
}

/// What is understood of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Understood {
    /// What was looked at, as it was asked for.
    pub asked: String,
    /// The service's issuer identifier, byte for byte as it spells it; none where no document proves one.
    pub issuer: Option<String>,
    /// The documents that were looked for.
    pub documents: Vec<Reading>,
    /// Which protocol it speaks.
    pub dialect: Said<Dialect>,
    /// Whether it takes ID-JAGs.
    pub id_jag: Said<Takes>,
    /// Where assertions go.
    pub endpoint: Said<Option<String>>,
    /// Where it is told of withdrawals.
    pub notices: Vec<Said<Channel>>,
    /// The resources that it guards, where it lists any.
    pub resources: Said<Vec<String>>,
    /// The scopes that it names; it may have others (RFC 8414 section 2).
    pub scopes: Said<Vec<String>>,
    /// The kinds of registration that it names.
    pub identity_types: Said<Vec<String>>,
    /// The kinds of credential that it gives out.
    pub credential_types: Said<Vec<String>>,
    /// What it says that it refuses.
    pub refuses: Said<Vec<String>>,
    /// What it calls itself: anyone's words.
    pub name: Said<Option<String>>,
    /// What it takes in the place of ID-JAGs, as the end of a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes_instead: Option<String>,
    /// What was passed over, and what is odd.
    pub remarks: Vec<Remark>,
}

/// Understands a service. `target` is whose documents they are: what was asked for, or the authorization server that a resource named.
#[must_use]
pub fn understand(asked: &Audience, target: &Audience, looked: &[Looked]) -> Understood {
    let proof = Proof::of(target, looked);
    match &proof.issuer {
        Some(issuer) => Reader::new(issuer, &proof).read(asked, &proof),
        None => Understood::nothing(asked, proof.readings, "no document proves whose it is"),
    }
}

impl Understood {
    /// Of a service that says nothing one could rely on.
    #[must_use]
    pub fn nothing(asked: &Audience, documents: Vec<Reading>, why: &str) -> Self {
        fn none<T: Default>(why: &str) -> Said<T> {
            Said::nowhere(T::default(), why)
        }
        Self {
            asked: asked.as_str().to_owned(),
            issuer: None,
            documents,
            dialect: none(why),
            id_jag: none(why),
            endpoint: none(why),
            notices: Vec::new(),
            resources: none(why),
            scopes: none(why),
            identity_types: none(why),
            credential_types: none(why),
            refuses: none(why),
            name: none(why),
            takes_instead: None,
            remarks: Vec::new(),
        }
    }

    /// What may be done with the service, given this and no operator's word. Its scopes are not among it: the list that a service publishes
    /// need not be whole (RFC 8414 section 2), and the user is shown each scope by itself. Nor is its name, which anybody can choose.
    #[must_use]
    pub fn policy(&self) -> ServicePolicy {
        let receiver = |Said { value, .. }: &Said<Channel>| NoticeEndpoint {
            format: value.format,
            endpoint: value.endpoint.clone(),
            event: value.event.clone(),
            unproven: !value.named,
        };
        ServicePolicy {
            resources: self.resources.value.clone(),
            takes_id_jag: self.id_jag.value != Takes::No,
            notices: self.notices.iter().map(receiver).collect(),
            ..ServicePolicy::of(self.dialect.value.stands_for())
        }
    }

    /// What a user relies on who agrees after having been shown this: the protocol, and who is told of a withdrawal. Where it is another
    /// text, they are asked again.
    #[must_use]
    pub fn shown(&self) -> String {
        let told = self.notices.iter().map(|notice| {
            let host = Url::parse(&notice.value.endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
            format!("{} at {}", notice.value.format.as_str(), host.unwrap_or_default())
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        [self.dialect.value.as_str().to_owned()].into_iter().chain(told).collect::<Vec<_>>().join("; ")
    }

    /// What it says otherwise than before.
    #[must_use]
    pub fn differs_in(&self, before: &Self) -> Vec<String> {
        let channels = |of: &Self| of.notices.iter().map(|notice| notice.value.clone()).collect::<Vec<_>>();
        let differing = [
            ("dialect", self.dialect.value != before.dialect.value),
            ("id_jag", self.id_jag.value != before.id_jag.value),
            ("endpoint", self.endpoint.value != before.endpoint.value),
            ("notices", channels(self) != channels(before)),
            ("resources", self.resources.value != before.resources.value),
        ];
        differing.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
    }

    /// Whether the document spells what was asked for with or without a slash at its end, and is it otherwise.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| *issuer != self.asked && is_slash_apart(issuer, &self.asked))
    }

    /// The authorization server that guards what was asked for, where that is another one.
    #[must_use]
    pub fn guarded_by(&self) -> Option<&str> {
        self.issuer.as_deref().filter(|issuer| !is_slash_apart(issuer, &self.asked))
    }

    /// Everything for people, in order: the name of the field, what, and where it comes from.
    #[must_use]
    pub fn fields(&self) -> Vec<Said<(&'static str, String)>> {
        fn field<T>(name: &'static str, said: &Said<T>, text: impl Into<String>) -> Said<(&'static str, String)> {
            let Said { document, member, why, .. } = said;
            Said { value: (name, text.into()), document: document.clone(), member: member.clone(), why: why.clone() }
        }
        let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
        let one = |item: &Option<String>| item.clone().unwrap_or_else(|| "-".to_owned());
        let mut fields = vec![
            field("protocol", &self.dialect, self.dialect.value.as_str()),
            field("takes ID-JAGs", &self.id_jag, self.id_jag.value.as_str()),
            field("assertions go to", &self.endpoint, one(&self.endpoint.value)),
        ];
        if self.notices.is_empty() {
            let why = "it offers nothing that could be used: a withdrawal ends new access only";
            fields.push(Said::nowhere(("withdrawals go to", "-".to_owned()), why));
        }
        fields.extend(self.notices.iter().map(|notice| {
            let Channel { format, endpoint, event, .. } = &notice.value;
            let called = event.as_ref().map(|event| format!(", called {event}")).unwrap_or_default();
            field("withdrawals go to", notice, format!("{endpoint} ({}{called})", format.as_str()))
        }));
        fields.extend([
            field("resources", &self.resources, list(&self.resources.value)),
            field("scopes", &self.scopes, list(&self.scopes.value)),
            field("registrations", &self.identity_types, list(&self.identity_types.value)),
            field("credentials", &self.credential_types, list(&self.credential_types.value)),
            field("refuses", &self.refuses, list(&self.refuses.value)),
            field("calls itself", &self.name, one(&self.name.value)),
        ]);
        fields
    }
}

/// Whether two identifiers are the same but for a slash at the end.
#[must_use]
pub fn is_slash_apart(a: &str, b: &str) -> bool {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    bare(a) == bare(b)
}
