//! Agents and services as pages name them.

use super::pages::{Agent, Known, Service};
use crate::domain::client::Client;
use crate::domain::ids::Audience;
use crate::domain::service;

/// An agent. Only the operator's configuration makes one yet, so that is whose words its name is.
pub(super) fn agent(client: &Client) -> Agent {
    Agent { name: client.title(), known: Known::Operator(client.address()) }
}

/// A service by its audience, and by its name where it is declared.
pub(super) fn service(known: Option<&service::Service>, aud: &str) -> Service {
    let host = Audience::parse(aud).map_or_else(|_| aud.to_owned(), |a| a.host());
    Service { name: known.and_then(|s| s.policy.name.as_ref()).map(ToString::to_string), host }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::client::ClientPolicy;
    use crate::domain::ids::ClientId;

    #[test]
    fn where_an_agent_and_a_service_are() {
        for (redirect_uri, at) in [
            ("https://agent.example/cb", Some("agent.example")),
            ("https://agent.example:8443/cb", Some("agent.example:8443")),
            ("http://127.0.0.1/cb", None),
        ] {
            let metadata = json!({"token_endpoint_auth_method": "none", "redirect_uris": [redirect_uri]});
            let client = Client {
                key: "k".into(),
                client_id: ClientId::parse("desk").unwrap(),
                metadata: serde_json::from_value(metadata).unwrap(),
                policy: ClientPolicy::default(),
                secret_hash: None,
                version: 1,
            };
            let shown = agent(&client);
            assert!(matches!(&shown.known, Known::Operator(known) if known.as_deref() == at), "{redirect_uri}");
            assert_eq!(shown.name, "desk");
        }
        let shown = service(None, "https://auth.example/acme");
        assert_eq!((shown.name, &*shown.host), (None, "auth.example/acme"));
    }
}
