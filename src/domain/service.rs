//! Relying services: whom an assertion may be for.

use std::borrow::Cow;

use super::ids::{Audience, IssuerUrl, is_at_origin_of, is_same_resource};
use super::members::quote;
use super::refusal::Refusal;
use super::service_policy::{Dialect, ServicePolicy};
use super::understood::Understood;

vocabulary! {
    /// Whose word it is, what a service is.
    pub enum Source {
        /// The configuration's.
        Declared = "config",
        /// An administrator's, who said what it is.
        Added = "admin",
        /// An operator's, who let stand what was discovered.
        Pinned = "pinned",
        /// Its own, in metadata that prove whose they are.
        Discovered = "discovered",
        /// Nobody's: it was looked at, and nothing proves anything.
        Unknown = "unknown",
    }
}

impl Source {
    /// The published name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Added => "added",
            other => other.as_str(),
        }
    }

    /// Whether an operator answers for it: then nothing that the service says changes anything.
    #[must_use]
    pub fn is_operators(self) -> bool {
        matches!(self, Self::Declared | Self::Added | Self::Pinned)
    }
}

/// A service, known or not.
#[derive(Clone, Debug)]
pub struct Service {
    /// Our own key; `None` for a service that nobody looked at.
    pub id: Option<String>,
    /// Its issuer identifier.
    pub audience: Audience,
    /// What is known of it.
    pub policy: ServicePolicy,
    /// Whose word that is.
    pub source: Source,
    /// What of it a user was shown, who would be asked again if it were another text. `None` where the configuration declares it.
    pub shown: Option<String>,
    /// Grows with every change.
    pub version: i64,
}

/// An audience that is not the issuer itself, in any spelling: an assertion for it would be a way around sign-in.
///
/// # Errors
/// What is wrong with it.
pub fn audience_of(text: &str, issuer: &IssuerUrl) -> Result<Audience, String> {
    let audience = Audience::parse(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
    if audience.names(issuer) {
        return Err(format!("{} is this issuer itself, not a service", quote(text)));
    }
    Ok(audience)
}

/// A service that there is a row of.
#[derive(Clone, Debug)]
pub struct KnownService {
    /// What it is.
    pub service: Service,
    /// Whether nobody is vouched for there.
    pub disabled: bool,
}

impl Service {
    /// Who an audience is: what is known of it, or a service of which no more is assumed than that it takes ID-JAGs.
    ///
    /// # Errors
    /// [`Refusal::AudienceNotAllowed`] for one that was disabled (unlike for one nobody ever declared, nobody is vouched for there), and
    /// [`Refusal::TakesNoIdJags`].
    pub fn resolve<'a>(audience: &Audience, known: Option<&'a KnownService>) -> Result<Cow<'a, Self>, Refusal> {
        match known {
            Some(KnownService { disabled: true, .. }) => Err(Refusal::AudienceNotAllowed),
            Some(KnownService { service, .. }) if !service.policy.takes_id_jag => Err(Refusal::TakesNoIdJags(None)),
            Some(KnownService { service, .. }) => Ok(Cow::Borrowed(service)),
            None => Ok(Cow::Owned(Self::unknown(audience.clone()))),
        }
    }

    /// One of which nothing is known.
    #[must_use]
    pub fn unknown(audience: Audience) -> Self {
        let shown = Some(Understood::nothing(&audience, Vec::new(), "").shown());
        let policy = ServicePolicy::of(Dialect::IdJag);
        Self { id: None, audience, policy, source: Source::Unknown, shown, version: 0 }
    }

    /// What comes of a look at one.
    #[must_use]
    pub fn discovered(audience: Audience, understood: &Understood) -> Self {
        if understood.issuer.as_deref() != Some(audience.as_str()) {
            return Self::unknown(audience);
        }
        let (policy, shown) = (understood.policy(), Some(understood.shown()));
        Self { id: None, audience, policy, source: Source::Discovered, shown, version: 0 }
    }

    /// Whether a resource is one of its: of those that are listed, else at its own origin (ID-JAG draft section 4.3.3, RFC 8707 section 2).
    #[must_use]
    pub fn guards(&self, resource: &str) -> bool {
        let listed = &self.policy.resources;
        if listed.is_empty() {
            return is_at_origin_of(resource, &self.audience);
        }
        listed.iter().any(|one| is_same_resource(one, resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience() -> Audience {
        Audience::parse("https://a.example").unwrap()
    }

    #[test]
    fn who_an_audience_is() {
        let unknown = Service::resolve(&audience(), None).unwrap().into_owned();
        assert_eq!((unknown.id, unknown.version, unknown.policy), (None, 0, ServicePolicy::of(Dialect::IdJag)));
        let policy = ServicePolicy::of(Dialect::AuthMd);
        let service = Service { id: Some("v".into()), policy, version: 3, ..Service::unknown(audience()) };
        let known = |disabled, takes_id_jag| {
            let mut service = service.clone();
            service.policy.takes_id_jag = takes_id_jag;
            Service::resolve(&audience(), Some(&KnownService { service, disabled })).map(|service| service.version)
        };
        assert_eq!(known(false, true), Ok(3));
        assert_eq!(known(true, true), Err(Refusal::AudienceNotAllowed));
        assert_eq!(known(false, false), Err(Refusal::TakesNoIdJags(None)));
    }

    #[test]
    fn which_resources_it_guards() {
        let mut service = Service::unknown(audience());
        for (resource, guarded) in [
            ("https://a.example", true),
            ("https://a.example/", true),
            ("https://A.example:443/api/../mcp", true),
            ("https://a.example:8443/", false),
            ("http://a.example/", false),
            ("https://b.a.example/", false),
            ("https://a.example.evil.example/", false),
            ("urn:a", false),
        ] {
            assert_eq!(service.guards(resource), guarded, "{resource} of an unknown service");
        }
        service.policy.resources = vec!["https://a.example/mcp".into(), "https://api.b.example/v1/".into()];
        for (resource, guarded) in [
            ("https://a.example/mcp", true),
            ("https://A.EXAMPLE:443/x/../mcp", true),
            ("https://a.example/%6dcp", true),
            ("https://a.example/mcp/", false),
            ("https://a.example/mcp?x=1", false),
            ("https://a.example/mcp2", false),
            ("https://a.example/", false),
            ("https://api.b.example/v1/", true),
            ("https://api.b.example/v1", false),
        ] {
            assert_eq!(service.guards(resource), guarded, "{resource} of those that are listed");
        }
    }
}
