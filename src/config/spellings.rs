//! What of clients and services does not fit together, though each is right by itself: most likely one of the two is spelled otherwise.

use std::collections::{HashMap, HashSet};

use super::{ClientDecl, ServiceDecl};
use crate::domain::ids::{Audience, ClientId};
use crate::domain::issuer::IssuerId;
use crate::domain::members::quote;

/// An issuer's services and clients, by how they spell services.
#[derive(Default)]
struct Home<'a> {
    declared: HashSet<&'a str>,
    /// What clients may ask for; `*` is any.
    asked: HashSet<&'a str>,
    /// What of it is not declared, by where it leads.
    strange: HashMap<String, (&'a str, &'a ClientId)>,
}

/// Services that no client may ask for, and audiences of clients that are a declared service by another spelling: each a line.
pub(super) fn warnings(clients: &[ClientDecl], services: &[ServiceDecl]) -> Vec<String> {
    let mut homes: HashMap<Option<&IssuerId>, Home<'_>> = HashMap::new();
    for service in services {
        homes.entry(service.issuer.as_ref()).or_default().declared.insert(service.audience.as_str());
    }
    for client in clients {
        let home = homes.entry(client.issuer.as_ref()).or_default();
        for audience in &client.policy.audiences {
            home.asked.insert(audience);
            if let Ok(parsed) = Audience::parse(audience)
                && !home.declared.contains(audience.as_str())
            {
                home.strange.entry(parsed.place()).or_insert((audience, &client.client_id));
            }
        }
    }
    services.iter().filter_map(|service| warning(homes.get(&service.issuer.as_ref())?, &service.audience)).collect()
}

fn warning(home: &Home<'_>, audience: &Audience) -> Option<String> {
    let service = quote(audience.as_str());
    let misspelt = home.strange.get(&audience.place());
    let misspelt = misspelt.map(|(meant, client)| (quote(meant), quote(client.as_str())));
    // Where clients may ask for nothing at all, nobody has come to that yet.
    let is_asked = home.asked.is_empty() || home.asked.contains("*") || home.asked.contains(audience.as_str());
    match (is_asked, misspelt) {
        (true, None) => None,
        (true, Some((meant, client))) => Some(format!(
            "clients: {client} may ask for {meant}, which is not declared; did you mean the service {service}?"
        )),
        (false, None) => Some(format!("services: no client may ask for {service}")),
        (false, Some((meant, client))) => Some(format!(
            "services: no client may ask for {service}; did you mean {meant}, as the client {client} spells it?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECRET, load};

    fn warned(audiences: &[&str], services: &[&str]) -> Vec<String> {
        let clients = audiences.iter().enumerate().map(|(n, audiences)| {
            format!(
                "[[clients]]\nclient_id = 'c{n}'\nclient_secret = '{SECRET}'\nredirect_uris = ['https://a.example/cb']\naudiences = {audiences}\n"
            )
        });
        let services = services.iter().map(|service| format!("[[services]]\naudience = '{service}'\n"));
        load(&clients.chain(services).collect::<String>()).unwrap().warnings
    }

    #[test]
    fn services_that_clients_spell_otherwise() {
        let service = "https://a.example";
        for spelling in ["https://a.example/", "https://A.example", "https://a.example:443", "https://a.example/."] {
            let expected = format!(
                r#"services: no client may ask for "{service}"; did you mean "{spelling}", as the client "c0" spells it?"#
            );
            assert_eq!(warned(&[&format!("['{spelling}']")], &[service]), [expected], "{spelling}");
            let expected = format!(
                r#"services: no client may ask for "{spelling}"; did you mean "{service}", as the client "c0" spells it?"#
            );
            assert_eq!(warned(&[&format!("['{service}']")], &[spelling]), [expected], "{spelling}");
            let expected = format!(
                r#"clients: "c1" may ask for "{spelling}", which is not declared; did you mean the service "{service}"?"#
            );
            for first in [format!("['{service}']"), "['*']".to_owned()] {
                assert_eq!(warned(&[&first, &format!("['{spelling}']")], &[service]), [&*expected], "{spelling}");
            }
        }
        let alone = r#"services: no client may ask for "https://b.example""#;
        assert_eq!(warned(&["['https://a.example']"], &[service, "https://b.example"]), [alone]);
    }

    #[test]
    fn what_fits_together() {
        for (audiences, services) in [
            (&["['https://a.example', 'https://elsewhere.example']"][..], &["https://a.example"][..]),
            (&["['*']"], &["https://a.example", "https://b.example"]),
            (&["['https://a.example']", "['https://a.example/']"], &["https://a.example", "https://a.example/"]),
            (&["[]"], &["https://a.example"]),
            (&[], &["https://a.example"]),
        ] {
            assert_eq!(warned(audiences, services), [] as [&str; 0], "{audiences:?}");
        }
        let elsewhere =
            "[[issuers]]\nid = 'acme'\nname = 'Acme'\n[[services]]\naudience = 'https://a.example'\nissuer = 'acme'\n";
        let client = format!(
            "[[clients]]\nclient_id = 'c'\nclient_secret = '{SECRET}'\nredirect_uris = ['https://a.example/cb']\naudiences = ['https://a.example/']"
        );
        let warnings = load(&format!("{elsewhere}{client}")).unwrap().warnings;
        assert_eq!(warnings, [] as [&str; 0], "each issuer has its own");
    }
}
