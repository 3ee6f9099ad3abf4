//! Relying services: whom an assertion may be for.

use std::borrow::Cow;

use super::ids::{Audience, IssuerUrl};
use super::members::quote;
use super::refusal::Refusal;
use super::service_policy::{Dialect, ServicePolicy};

/// A service, declared or not.
#[derive(Clone, Debug)]
pub struct Service {
    /// Our own key; `None` for a service nobody declared.
    pub id: Option<String>,
    /// Its issuer identifier.
    pub audience: Audience,
    /// What is known of it.
    pub policy: ServicePolicy,
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

/// A service that is or was declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// What it is.
    pub service: Service,
    /// Whether it is not any more.
    pub disabled: bool,
}

impl Service {
    /// Who an audience is: what was declared of it, or a service of which no more is assumed than that it takes ID-JAGs.
    ///
    /// # Errors
    /// [`Refusal::AudienceNotAllowed`] for one that was disabled (unlike for one nobody ever declared, nobody is vouched for there) and
    /// for one that takes no ID-JAGs.
    pub fn resolve<'a>(audience: &Audience, declared: Option<&'a Declared>) -> Result<Cow<'a, Self>, Refusal> {
        match declared {
            Some(Declared { disabled: true, .. }) => Err(Refusal::AudienceNotAllowed),
            Some(Declared { service, .. }) if !service.policy.takes_id_jag => Err(Refusal::AudienceNotAllowed),
            Some(Declared { service, .. }) => Ok(Cow::Borrowed(service)),
            None => Ok(Cow::Owned(Self::unknown(audience.clone()))),
        }
    }

    fn unknown(audience: Audience) -> Self {
        Self { id: None, audience, policy: ServicePolicy::of(Dialect::IdJag), version: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_an_audience_is() {
        let audience = Audience::parse("https://a.example").unwrap();
        let unknown = Service::resolve(&audience, None).unwrap().into_owned();
        assert_eq!((unknown.id, unknown.version, unknown.policy), (None, 0, ServicePolicy::of(Dialect::IdJag)));
        let policy = ServicePolicy::of(Dialect::AuthMd);
        let service = Service { id: Some("v".into()), audience: audience.clone(), policy, version: 3 };
        let declared = |disabled, takes_id_jag| {
            let mut service = service.clone();
            service.policy.takes_id_jag = takes_id_jag;
            Service::resolve(&audience, Some(&Declared { service, disabled })).map(|service| service.version)
        };
        assert_eq!(declared(false, true), Ok(3));
        assert_eq!(declared(true, true), Err(Refusal::AudienceNotAllowed));
        assert_eq!(declared(false, false), Err(Refusal::AudienceNotAllowed));
    }
}
