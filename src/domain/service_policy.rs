//! The rulebook for what is known of a relying service, by whichever door it comes in: what it can do, and what may leave for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::display_name::DisplayName;
use super::ids::{ClientId, absolute, is_loopback_host};
use super::members::{self, MemberError, check_list, quote};
use super::notice::Format;
use super::rotation::SigningAlg;
use super::scope;
use super::time::Seconds;

/// Most entries of a list.
const MAX_ENTRIES: usize = 128;
/// The longest that a sign-in can be asked to be young: ten years.
const MAX_AUTH_AGE: Seconds = Seconds(3650 * 86_400);

/// A claim that may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// `email`
    Email,
    /// `email_verified`
    EmailVerified,
    /// `name`
    Name,
    /// `phone_number`
    PhoneNumber,
    /// `phone_number_verified`
    PhoneNumberVerified,
    /// `amr`
    Amr,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::EmailVerified, Self::Name, Self::PhoneNumber, Self::PhoneNumberVerified, Self::Amr];

    /// The claim's registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
            Self::Name => "name",
            Self::PhoneNumber => "phone_number",
            Self::PhoneNumberVerified => "phone_number_verified",
            Self::Amr => "amr",
        }
    }
}

/// Which identifier of the client an assertion names, where none is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientIdSource {
    /// The provider's own Client ID Metadata Document, whose `jwks_uri` the service compares with the keys it verified by
    /// (auth.md, "CIMD resolution").
    Provider,
    /// The client's own id here.
    Client,
}

impl ClientIdSource {
    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Client => "client",
        }
    }
}

/// Where a service takes a kind of notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeEndpoint {
    /// What is sent there.
    pub format: Format,
    /// Where that is.
    pub endpoint: String,
    /// What the event is called there, if not as auth.md calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Whether a 2xx of it proves nothing: it may be for clients that revoke their own tokens (RFC 7009), or take no event of this name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

/// What an operator says of a service's protocol, or discovery finds: it only fills a [`ServicePolicy`] in, which then says each thing
/// that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// auth.md: posts of ID-JAGs to its own endpoint, `logout+jwt` at its `revocation_uri` or `secevent+jwt` at its `events_endpoint`.
    AuthMd,
    /// A plain resource authorization server of the ID-JAG draft; nothing can be pushed to it.
    IdJag,
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePolicy {
    /// The name to show.
    pub name: Option<DisplayName>,
    /// Its protected resources (RFC 8707 section 2); empty: not known.
    pub resources: Vec<String>,
    /// Scopes it has; empty: not known.
    pub scopes: Vec<String>,
    /// A client's id at that service, by its id here.
    pub client_ids: BTreeMap<ClientId, ClientId>,
    /// What leaves about a user.
    pub claims: Vec<Claim>,
    /// Seconds: an older sign-in is refused.
    pub max_auth_age: Option<Seconds>,
    /// Whether it finds its users by a verified e-mail or phone number, so that somebody with neither cannot be vouched for there.
    pub requires_verified_contact: bool,
    /// Which id of the client it knows.
    pub client_id_source: ClientIdSource,
    /// Whether it takes ID-JAGs at all.
    pub takes_id_jag: bool,
    /// Where it is told of withdrawals.
    pub notices: Vec<NoticeEndpoint>,
    /// What assertions and notices for it are signed with.
    pub signing_alg: SigningAlg,
}

impl ServicePolicy {
    /// What a dialect stands for, and the smallest set of claims it needs (auth.md, "ID-JAG claims"; ID-JAG draft section 3.1).
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        let (requires_verified_contact, client_id_source, claims) = match dialect {
            Dialect::AuthMd => {
                (true, ClientIdSource::Provider, Claim::ALL.into_iter().filter(|c| *c != Claim::Amr).collect())
            }
            Dialect::IdJag => (false, ClientIdSource::Client, vec![Claim::Email, Claim::EmailVerified]),
        };
        Self {
            name: None,
            resources: Vec::new(),
            scopes: Vec::new(),
            client_ids: BTreeMap::new(),
            claims,
            max_auth_age: None,
            requires_verified_contact,
            client_id_source,
            takes_id_jag: true,
            notices: Vec::new(),
            signing_alg: SigningAlg::Es256,
        }
    }

    /// The members that an operator says; the others follow from where the service is told of withdrawals.
    #[must_use]
    pub fn said_by_operators() -> Vec<&'static str> {
        const FOLLOW: [&str; 3] = ["requires_verified_contact", "client_id_source", "takes_id_jag"];
        members::names::<Self>().iter().copied().filter(|name| !FOLLOW.contains(name)).collect()
    }

    /// What an operator says of a service. One that takes either of auth.md's notices speaks auth.md; of another nothing is known.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn said(members: Map<String, Value>) -> Result<Self, MemberError> {
        let of_auth_md = [Format::LogoutJwt, Format::SecEvent].map(Format::as_str);
        let is_other = |notice: &Value| notice["format"].as_str().is_some_and(|format| !of_auth_md.contains(&format));
        let dialect = match members.get("notices") {
            None | Some(Value::Null) => Dialect::IdJag,
            Some(Value::Array(notices)) if notices.iter().all(is_other) => Dialect::IdJag,
            Some(_) => Dialect::AuthMd,
        };
        Self::of(dialect).with(members)
    }

    /// Lays members over what is known, and judges the whole.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn with(&self, members: Map<String, Value>) -> Result<Self, MemberError> {
        let policy: Self = members::read(members::over(self, members))?;
        policy.validate()?;
        Ok(policy)
    }

    /// Judges what no member's type can judge alone. Every door has these rules.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), MemberError> {
        check_list("resources", self.resources.iter().map(String::as_str), MAX_ENTRIES, resource)?;
        check_list("scopes", self.scopes.iter().map(String::as_str), MAX_ENTRIES, scope_token)?;
        check_list("claims", self.claims.iter().map(|claim| claim.as_str()), MAX_ENTRIES, |_| Ok(()))?;
        check_list("notices", self.notices.iter().map(|notice| notice.format.as_str()), MAX_ENTRIES, |_| Ok(()))?;
        for notice in &self.notices {
            if notice.format == Format::BackchannelLogout {
                let problem = "\"backchannel-logout\" is for clients: a client says backchannel_logout_uri";
                return Err(MemberError::new("notices", problem));
            }
            endpoint(&notice.endpoint).map_err(|problem| MemberError::new("notices", problem))?;
            // Each event is a URI (RFC 8417 section 2.2).
            let event = notice.event.as_deref().map_or(Ok(()), |uri| absolute(uri).map(|_| ()));
            event.map_err(|problem| MemberError::new("notices", format!("event: {problem}")))?;
        }
        if self.max_auth_age.is_some_and(|age| !(Seconds(1)..=MAX_AUTH_AGE).contains(&age)) {
            return Err(MemberError::new("max_auth_age", "it is outside of 1 second to 3650 days"));
        }
        Ok(())
    }

    /// Where it takes a kind of notice.
    #[must_use]
    pub fn endpoint_for(&self, format: Format) -> Option<&str> {
        self.receiver(format).map(|notice| notice.endpoint.as_str())
    }

    /// The same, with what it calls the event.
    #[must_use]
    pub fn receiver(&self, format: Format) -> Option<&NoticeEndpoint> {
        self.notices.iter().find(|notice| notice.format == format)
    }
}

/// A resource indicator (RFC 8707 section 2): absolute, no fragment.
fn resource(text: &str) -> Result<(), String> {
    absolute(text).map(|_| ()).map_err(|problem| format!("{}: {problem}", quote(text)))
}

fn scope_token(text: &str) -> Result<(), String> {
    if scope::is_token(text) {
        return Ok(());
    }
    Err(format!("{} is not one scope: visible ASCII without quote and backslash, one scope an item", quote(text)))
}

/// Something we send to: https, or http on this machine.
fn endpoint(text: &str) -> Result<(), String> {
    let url = absolute(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback_host(&url)) {
        return Ok(());
    }
    Err(format!("{} must be https (http only on a loopback host)", quote(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(members: &Value) -> Result<ServicePolicy, String> {
        let members = members.as_object().unwrap().clone();
        ServicePolicy::of(Dialect::AuthMd).with(members).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_said_is_laid_over_what_the_dialect_stands_for() {
        let policy = with(&json!({"name": " Billing ", "claims": [], "max_auth_age": 900})).unwrap();
        assert_eq!(
            (policy.name.unwrap().as_str(), policy.claims, policy.max_auth_age),
            ("Billing", vec![], Some(Seconds(900)))
        );
        assert!(policy.requires_verified_contact && policy.takes_id_jag);
        assert_eq!(policy.client_id_source, ClientIdSource::Provider);
        let notices = json!([{"format": "logout+jwt", "endpoint": "http://127.0.0.1:8000/r"}]);
        let told = with(&json!({"notices": notices})).unwrap();
        assert_eq!(told.endpoint_for(Format::LogoutJwt), Some("http://127.0.0.1:8000/r"));
        let plain = ServicePolicy::of(Dialect::IdJag);
        assert_eq!((plain.requires_verified_contact, plain.client_id_source), (false, ClientIdSource::Client));
        assert_eq!((plain.claims.len(), plain.endpoint_for(Format::LogoutJwt)), (2, None));
    }

    #[test]
    fn rules() {
        let notice = |endpoint: &str| json!({"notices": [{"format": "logout+jwt", "endpoint": endpoint}]});
        for (members, expected) in [
            (json!({"name": "a\u{202e}b"}), "name: it contains an invisible character"),
            (json!({"resources": ["api"]}), "resources: \"api\": it is not an absolute URL"),
            (json!({"resources": ["https://a.example/#x"]}), "fragment"),
            (json!({"scopes": ["a b"]}), "scopes: \"a b\" is not one scope"),
            (json!({"scopes": ["a\""]}), "is not one scope"),
            (json!({"scopes": ["a", "a"]}), "scopes: \"a\" is listed twice"),
            (json!({"scopes": (0..129).map(|n| n.to_string()).collect::<Vec<_>>()}), "more than 128 entries"),
            (json!({"client_ids": {"a b": "c"}}), "client_ids: \"a b\" is not a client id"),
            (json!({"client_ids": {"a": ""}}), "client_ids: \"\" is not a client id"),
            (json!({"client_ids": {"a": 1}}), "client_ids: invalid type: integer `1`"),
            (
                json!({"claims": ["address"]}),
                "claims: unknown variant `address`, expected one of `email`, `email_verified`",
            ),
            (json!({"claims": ["email", "email"]}), "is listed twice"),
            (json!({"max_auth_age": 0}), "max_auth_age: it is outside"),
            (notice("http://a.example/revoke"), "notices: \"http://a.example/revoke\" must be https"),
            (notice("/revoke"), "not an absolute URL"),
            (
                json!({"notices": [{"format": "pigeon", "endpoint": "https://a.example/"}]}),
                "notices: unknown variant `pigeon`",
            ),
            (
                json!({"notices": [{"format": "backchannel-logout", "endpoint": "https://a.example/"}]}),
                "notices: \"backchannel-logout\" is for clients",
            ),
        ] {
            let problem = with(&members).map(|_| "accepted").unwrap_err();
            assert!(problem.contains(expected), "{members}: {problem}");
        }
    }

    #[test]
    fn a_claim_is_the_same_stored_and_sent() {
        for claim in Claim::ALL {
            assert_eq!(serde_json::to_value(claim).unwrap(), claim.as_str());
        }
    }
}
