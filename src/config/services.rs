//! `[[services]]`: what discovery cannot know about a relying service, or what pins it.

use std::collections::BTreeMap;

use toml::Value;

use super::issuers::{Home, Homes};
use super::section::Section;
use super::values::{endpoint, is_visible, label, resource, scope, seconds};
use super::wording::quote;
use super::{ConfigError, ServiceDecl};
use crate::domain::ids::{Audience, MAX_URL};

/// The claims about a user that an operator may choose from.
const CLAIMS: [&str; 7] = ["email", "email_verified", "name", "phone_number", "phone_number_verified", "amr", "acr"];

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
    let name = section.text("name")?;
    let resources = section.list("resources")?;
    let scopes = section.list("scopes")?;
    let ids = section.value("client_ids");
    let claims = section.list("claims")?;
    let revocation_uri = section.text("revocation_uri")?;
    let age = section.text("max_auth_age")?;
    section.only("subject_type", "public", &["pairwise"])?;
    section.only("signing_alg", "ES256", &["RS256"])?;
    section.only("mode", "user", &["admin"])?;
    section.later("events_endpoint")?;
    section.finish()?;

    let home = homes.of(section, issuer.as_deref())?;
    let given = given.ok_or_else(|| section.wrong("audience", "every service needs one"))?;
    let age = age.map(|text| seconds(&text)).transpose();
    Ok(ServiceDecl {
        issuer: home.id.clone(),
        audience: audience(&given, &home).map_err(|problem| section.wrong("audience", problem))?,
        name: section.checked("name", name, label)?,
        resources: section.checked_all("resources", resources, resource)?,
        scopes: section.checked_all("scopes", scopes, scope)?,
        client_ids: client_ids(section, ids)?,
        claims: match claims {
            Some(claims) => Some(section.checked_all("claims", Some(claims), claim)?),
            None => None,
        },
        revocation_uri: section.checked("revocation_uri", revocation_uri, endpoint)?,
        max_auth_age: age.map_err(|problem| section.wrong("max_auth_age", problem))?,
    })
}

/// An audience that is not ourselves: an assertion for our own issuer would be a way around sign-in.
pub(super) fn audience(text: &str, home: &Home) -> Result<Audience, String> {
    let audience = Audience::parse(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
    if audience.as_str().trim_end_matches('/') == home.url {
        return Err(format!("{} is this issuer itself, not a service", quote(text)));
    }
    Ok(audience)
}

fn claim(text: &str) -> Result<(), String> {
    if CLAIMS.contains(&text) {
        return Ok(());
    }
    Err(format!("{} is not a claim that can be sent; choose from {}", quote(text), CLAIMS.join(", ")))
}

fn client_ids(section: &Section<'_>, value: Option<Value>) -> Result<BTreeMap<String, String>, ConfigError> {
    const KEY: &str = "client_ids";
    let expected = "expected a table such as { \"desk-agent\" = \"https://agent.example/agent.json\" }";
    let table = match value {
        None => return Ok(BTreeMap::new()),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(section.wrong(KEY, expected)),
    };
    let mut ids = BTreeMap::new();
    for (here, there) in table {
        let Value::String(there) = there else { return Err(section.wrong(KEY, expected)) };
        for id in [&here, &there] {
            if !is_visible(id, MAX_URL) {
                let problem = format!("{} is not a client id: 1 to {MAX_URL} visible ASCII characters", quote(id));
                return Err(section.wrong(KEY, problem));
            }
        }
        ids.insert(here, there);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepts, load, refuses_with};

    #[test]
    fn a_service_as_declared() {
        let config = load(
            "[[services]]\naudience = 'https://a.example/'\nclient_ids = { 'desk' = 'https://b.example/c.json' }\n\
             claims = []\nmax_auth_age = '15m'\nsubject_type = 'public'\nsigning_alg = 'ES256'\nmode = 'user'\n\
             revocation_uri = 'https://a.example/revoke'",
        );
        let service = &config.unwrap().services[0];
        assert_eq!(service.audience.as_str(), "https://a.example/");
        assert_eq!(service.client_ids["desk"], "https://b.example/c.json");
        assert_eq!((service.claims.as_deref(), service.max_auth_age), (Some(&[] as &[String]), Some(900)));
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
            ],
        );
        refuses_with(
            "[[services]]\naudience = 'https://a.example'",
            &[
                (
                    "[[services]]\naudience = 'https://a.example'",
                    "services[1].audience: \"https://a.example\" is declared twice",
                ),
                ("name = ''", "services[0].name: it must not be empty"),
                ("resources = ['api']", "services[0].resources: \"api\": it is not an absolute URL"),
                ("resources = ['https://a.example/#x']", "fragment"),
                ("scopes = ['a b']", "is not one scope"),
                ("scopes = ['a\"']", "is not one scope"),
                ("client_ids = 'x'", "services[0].client_ids: expected a table"),
                ("client_ids = { 'a' = 1 }", "services[0].client_ids: expected a table"),
                ("client_ids = { 'a b' = 'c' }", "is not a client id"),
                ("client_ids = { 'a' = '' }", "is not a client id"),
                ("claims = ['address']", "\"address\" is not a claim that can be sent; choose from email,"),
                ("revocation_uri = 'http://a.example/revoke'", "must be https (http only on a loopback host)"),
                ("max_auth_age = 3600", "services[0].max_auth_age: expected a text in quotes, found an integer"),
                ("max_auth_age = '0s'", "services[0].max_auth_age: \"0s\" is outside"),
                ("subject_type = 'pairwise'", "services[0].subject_type: \"pairwise\" is not supported yet"),
                ("signing_alg = 'RS256'", "services[0].signing_alg: \"RS256\" is not supported yet"),
                ("mode = 'admin'", "services[0].mode: \"admin\" is not supported yet"),
                ("mode = 'any'", "services[0].mode: expected \"user\", found \"any\""),
                (
                    "events_endpoint = 'https://a.example/e'",
                    "services[0].events_endpoint: this key is not supported yet",
                ),
                ("audiance = 'x'", "services[0].audiance: unknown key; the nearest known one is `audience`"),
            ],
        );
    }
}
