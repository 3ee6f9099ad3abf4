//! `[[services]]`: what discovery cannot know about a relying service, or what pins it.

use serde_json::json;

use super::issuers::Homes;
use super::section::Section;
use super::values::seconds;
use super::{ConfigError, ServiceDecl};
use crate::domain::members::{MemberError, quote};
use crate::domain::notice::Format;
use crate::domain::service::audience_of;
use crate::domain::service_policy::{Dialect, ServicePolicy};

/// Reads every `[[services]]` table.
pub(super) fn read(sections: Vec<Section<'_>>, homes: &Homes<'_>) -> Result<Vec<ServiceDecl>, ConfigError> {
    let mut services: Vec<ServiceDecl> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let service = service(&mut section, homes)?;
        if services.iter().any(|known| (&known.issuer, &known.audience) == (&service.issuer, &service.audience)) {
            return Err(section.wrong("audience", format!("{} is declared twice", quote(service.audience.as_str()))));
        }
        services.push(service);
    }
    Ok(services)
}

fn service(section: &mut Section<'_>, homes: &Homes<'_>) -> Result<ServiceDecl, ConfigError> {
    let issuer = section.text("issuer")?;
    let given = section.text("audience")?;
    // With its unit, in the configuration.
    let keys = ServicePolicy::said_by_operators().into_iter().filter(|name| *name != "max_auth_age");
    let mut members = section.members(keys);
    let short = [
        ("revocation_uri", Format::LogoutJwt, section.text("revocation_uri")?),
        ("events_endpoint", Format::SecEvent, section.text("events_endpoint")?),
        (
            "global_token_revocation_endpoint",
            Format::GlobalRevocation,
            section.text("global_token_revocation_endpoint")?,
        ),
    ];
    let age = section.span("max_auth_age")?;
    section.only("subject_type", "public", &["pairwise"])?;
    section.only("mode", "user", &["admin"])?;
    section.finish()?;

    let home = homes.of(section, issuer.as_deref())?;
    let given = given.ok_or_else(|| section.wrong("audience", "every service needs one"))?;
    if let Some(age) = age {
        let age = seconds(&age).map_err(|problem| section.wrong("max_auth_age", problem))?;
        members.insert("max_auth_age".into(), json!(age));
    }
    let mut notices = members.remove("notices").unwrap_or_else(|| json!([]));
    for (key, format, endpoint) in short {
        let Some(endpoint) = endpoint else { continue };
        ServicePolicy::of(Dialect::AuthMd)
            .with([("notices".to_owned(), json!([{ "format": format, "endpoint": endpoint }]))].into_iter().collect())
            .map_err(|error| section.refused(MemberError::new(key, error.problem)))?;
        if let Some(notices) = notices.as_array_mut() {
            notices.push(json!({ "format": format, "endpoint": endpoint }));
        }
    }
    members.insert("notices".into(), notices);
    let policy = ServicePolicy::said(members).map_err(|error| section.refused(error))?;
    let audience = audience_of(&given, &home.url).map_err(|problem| section.wrong("audience", problem))?;
    Ok(ServiceDecl { issuer: home.id, audience, policy })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepts, load, refuses_with};
    use crate::domain::ids::ClientId;
    use crate::domain::notice::Format;
    use crate::domain::service_policy::Claim;
    use crate::domain::time::Seconds;

    #[test]
    fn a_service_as_declared() {
        let config = load(
            "[[services]]\naudience = 'https://a.example/'\nclient_ids = { 'desk' = 'https://b.example/c.json' }\n\
             claims = []\nmax_auth_age = '15m'\nsubject_type = 'public'\nsigning_alg = 'ES256'\nmode = 'user'\n\
             revocation_uri = 'https://a.example/revoke'",
        );
        let service = &config.unwrap().services[0];
        assert_eq!(service.audience.as_str(), "https://a.example/");
        let policy = &service.policy;
        let id = |text: &str| ClientId::parse(text).unwrap();
        assert_eq!(policy.client_ids[&id("desk")], id("https://b.example/c.json"));
        assert_eq!((policy.claims.as_slice(), policy.max_auth_age), (&[] as &[Claim], Some(Seconds(900))));
        assert_eq!(policy.endpoint_for(Format::LogoutJwt), Some("https://a.example/revoke"));
        assert!(policy.requires_verified_contact, "it speaks auth.md");
        let plain = load("[[services]]\naudience = 'https://a.example'").unwrap().services.remove(0).policy;
        assert_eq!((plain.requires_verified_contact, plain.notices.len()), (false, 0));
        let revocation = "global_token_revocation_endpoint = 'https://a.example/gtr'";
        let told =
            load(&format!("[[services]]\naudience = 'https://a.example'\n{revocation}")).unwrap().services.remove(0);
        assert_eq!(told.policy.endpoint_for(Format::GlobalRevocation), Some("https://a.example/gtr"));
        assert!(!told.policy.requires_verified_contact, "that is no part of auth.md");
        accepts(
            "[[services]]\naudience = 'http://localhost:8000'",
            &["", "revocation_uri = 'http://127.0.0.1:8000/r'"],
        );
    }

    #[test]
    fn rules() {
        refuses_with(
            "[[services]]",
            &[
                ("", "services[0].audience: every service needs one"),
                ("audience = '/relative'", "services[0].audience: \"/relative\": it is not an absolute URL"),
                ("audience = 'http://localhost:4000'", "is this issuer itself"),
                ("audience = 'HTTP://LocalHost:4000/%2e'", "is this issuer itself"),
            ],
        );
        refuses_with(
            "[[services]]\naudience = 'https://a.example'",
            &[
                (
                    "[[services]]\naudience = 'https://a.example'",
                    "services[1].audience: \"https://a.example\" is declared twice",
                ),
                ("name = ''", "services[0].name: it must contain a letter or a digit"),
                ("resources = ['api']", "services[0].resources: \"api\": it is not an absolute URL"),
                ("resources = ['https://a.example/#x']", "fragment"),
                ("scopes = ['a b']", "is not one scope"),
                ("scopes = ['a\"']", "is not one scope"),
                ("client_ids = 'x'", "services[0].client_ids: invalid type: string \"x\", expected a map"),
                ("client_ids = { 'a' = 1 }", "services[0].client_ids: invalid type: integer `1`, expected a string"),
                ("client_ids = { 'a b' = 'c' }", "is not a client id"),
                ("client_ids = { 'a' = '' }", "is not a client id"),
                ("claims = ['acr']", "services[0].claims: unknown variant `acr`, expected one of `email`,"),
                ("claims = ['address']", "services[0].claims: unknown variant `address`, expected one of `email`,"),
                (
                    "revocation_uri = 'http://a.example/revoke'",
                    "services[0].revocation_uri: \"http://a.example/revoke\" must be https (http only on a loopback host)",
                ),
                (
                    "max_auth_age = 3600",
                    "services[0].max_auth_age: expected a time with its unit, in quotes: \"3600s\" for seconds",
                ),
                ("notices = 'x'", "services[0].notices: "),
                ("notices = [{ format = 'pigeon', endpoint = 'https://a.example/e' }]", "services[0].notices: "),
                (
                    "notices = [{ format = 'secevent+jwt', endpoint = 'http://a.example/e' }]",
                    "services[0].notices: \"http://a.example/e\" must be https",
                ),
                (
                    "notices = [{ format = 'secevent+jwt', endpoint = 'https://a.example/e', event = 'revoked' }]",
                    "services[0].notices: event: it is not an absolute URL",
                ),
                (
                    "events_endpoint = 'https://a.example/e'\nnotices = [{ format = 'secevent+jwt', endpoint = 'https://a.example/e' }]",
                    "services[0].notices: \"secevent+jwt\" is listed twice",
                ),
                ("takes_id_jag = true", "services[0].takes_id_jag: unknown key"),
                ("max_auth_age = '0s'", "services[0].max_auth_age: \"0s\" is outside"),
                ("subject_type = 'pairwise'", "services[0].subject_type: \"pairwise\" is not supported yet"),
                ("signing_alg = 'HS256'", "services[0].signing_alg: "),
                ("mode = 'admin'", "services[0].mode: \"admin\" is not supported yet"),
                ("mode = 'any'", "services[0].mode: expected \"user\", found \"any\""),
                (
                    "events_endpoint = 'http://a.example/e'",
                    "services[0].events_endpoint: \"http://a.example/e\" must be https",
                ),
                (
                    "global_token_revocation_endpoint = 'http://a.example/gtr'",
                    "services[0].global_token_revocation_endpoint: \"http://a.example/gtr\" must be https",
                ),
                ("audiance = 'x'", "services[0].audiance: unknown key; the nearest known one is `audience`"),
            ],
        );
    }
}
