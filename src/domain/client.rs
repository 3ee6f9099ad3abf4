//! Clients: the agents, and what an admin allows them at most.

use serde::{Deserialize, Serialize};
use url::Url;

use super::client_metadata::{AuthMethod, ClientMetadata};
use super::ids::{Audience, ClientId, ClientKey, IssuerUrl, authority, is_loopback_host};
use super::members::{MemberError, check_list};
use super::service::audience_of;

/// Most entries of a ceiling.
const MAX_AUDIENCES: usize = 1024;

/// What an admin decides about a client, and the client does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientPolicy {
    /// Its ceiling: audiences, or `*` where the user alone decides.
    pub audiences: Vec<String>,
    /// The platform's own: signs in without asking, may have the scope `delegations`.
    pub first_party: bool,
    /// Whether a code is bound to a verifier of the client's. Without, it has to send a nonce.
    pub require_pkce: bool,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        Self { audiences: Vec::new(), first_party: false, require_pkce: true }
    }
}

impl ClientPolicy {
    /// Judges what is allowed a client of an issuer.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self, issuer: &IssuerUrl) -> Result<(), MemberError> {
        let alone = self.audiences.len() == 1;
        check_list("audiences", self.audiences.iter().map(String::as_str), MAX_AUDIENCES, |text| match text {
            "*" if alone => Ok(()),
            "*" => Err("\"*\" stands alone: [\"*\"] leaves the choice to the user".to_owned()),
            text => audience_of(text, issuer).map(|_| ()),
        })
    }

    /// Judges what is allowed a client that says this about itself: anybody can say that they are a public one.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn suits(&self, metadata: &ClientMetadata) -> Result<(), MemberError> {
        let is_public = metadata.token_endpoint_auth_method == AuthMethod::None;
        if is_public && self.first_party {
            let problem = "a public client cannot prove who it is, so nothing is given to it without asking (RFC 8252 section 8.6)";
            return Err(MemberError::new("first_party", problem));
        }
        if is_public && !self.require_pkce {
            let problem = "a public client has nothing but PKCE to tell it apart (RFC 9700 section 2.1.1)";
            return Err(MemberError::new("require_pkce", problem));
        }
        Ok(())
    }
}

/// An OAuth client of the issuer.
#[derive(Clone, Debug)]
pub struct Client {
    /// Our own key.
    pub key: ClientKey,
    /// What it calls itself on the wire.
    pub client_id: ClientId,
    /// What it says about itself.
    pub metadata: ClientMetadata,
    /// What it is allowed.
    pub policy: ClientPolicy,
    /// SHA-256 of its secret.
    pub secret_hash: Option<String>,
    /// Grows with every change.
    pub version: i64,
}

impl Client {
    /// Whether what proves who it is has not changed: a proof judged by one holds for the other.
    #[must_use]
    pub fn same_credentials(&self, other: &Self) -> bool {
        let credentials = |client: &Self| {
            (client.metadata.token_endpoint_auth_method, client.secret_hash.clone(), client.metadata.jwks.clone())
        };
        credentials(self) == credentials(other)
    }

    /// Whether it was registered for a grant.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.metadata.grant_types.iter().any(|g| g == grant_type)
    }

    /// Whether the ceiling contains an audience. Exact strings; `*` is the only pattern.
    #[must_use]
    pub fn may_ask_for(&self, audience: &Audience) -> bool {
        self.policy.audiences.iter().any(|a| a == "*" || a == audience.as_str())
    }

    /// How its ceiling spells an audience, where that is another spelling of the same place. Reads the whole ceiling: not for a transaction.
    #[must_use]
    pub fn spelling_of(&self, audience: &Audience) -> Option<&str> {
        let place = audience.place();
        let same = |allowed: &&String| {
            Audience::parse(allowed).is_ok_and(|allowed| allowed != *audience && allowed.place() == place)
        };
        self.policy.audiences.iter().find(same).map(String::as_str)
    }

    /// Whether it may be answered at a URI.
    #[must_use]
    pub fn redirects_to(&self, uri: &str) -> bool {
        self.metadata.redirect_uris.iter().any(|registered| registered.admits(uri))
    }

    /// Whether only this client can be answered at a URI: it proves who it is when it redeems the code, or the URI is a web site's (RFC 8252
    /// section 8.6). Any program on a machine can listen on its loopback, or claim a private-use scheme.
    #[must_use]
    pub fn is_alone_at(&self, uri: &str) -> bool {
        self.metadata.token_endpoint_auth_method != AuthMethod::None || uri.starts_with("https://")
    }

    /// Where it is on the web, as host and port: where its id leads, else the one site that it is answered at. None for what runs on its user's
    /// own machine.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let on_the_web = |text: &str| {
            Url::parse(text)
                .ok()
                .filter(|url| url.scheme() == "https" && !is_loopback_host(url))
                .map(|url| authority(&url))
        };
        on_the_web(self.client_id.as_str()).or_else(|| {
            let mut sites = self.metadata.redirect_uris.iter().map(|uri| on_the_web(uri.as_str()));
            let first = sites.next()??;
            sites.all(|site| site.as_ref() == Some(&first)).then_some(first)
        })
    }

    /// The name to show, or else its id.
    #[must_use]
    pub fn title(&self) -> String {
        self.metadata.client_name.as_ref().map_or_else(|| self.client_id.to_string(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(client_id: &str, redirect_uris: &[&str]) -> Client {
        let metadata = json!({"token_endpoint_auth_method": "none", "redirect_uris": redirect_uris});
        Client {
            key: "k".into(),
            client_id: ClientId::parse(client_id).unwrap(),
            metadata: serde_json::from_value(metadata).unwrap(),
            policy: ClientPolicy { audiences: vec!["https://a.example".into()], ..ClientPolicy::default() },
            secret_hash: None,
            version: 1,
        }
    }

    #[test]
    fn the_ceiling_is_exact() {
        let client = client("c", &["https://agent.example/cb"]);
        assert!(client.may_ask_for(&Audience::parse("https://a.example").unwrap()));
        assert!(!client.may_ask_for(&Audience::parse("https://a.example/").unwrap()));
        assert_eq!(client.title(), "c");
    }

    #[test]
    fn an_address_is_one_site_of_the_web() {
        let site = "https://agent.example:8443/cb";
        for (client_id, redirect_uris, address) in [
            ("c", &[site][..], Some("agent.example:8443")),
            ("c", &[site, "https://agent.example:8443/other"], Some("agent.example:8443")),
            ("c", &[site, "https://other.example/cb"], None),
            ("c", &[site, "http://127.0.0.1/cb"], None),
            ("c", &["http://127.0.0.1/cb"], None),
            ("c", &["https://localhost/cb"], None),
            ("c", &["com.example.app:/cb"], None),
            ("c", &[], None),
            ("https://agent.example/agent.json", &["http://127.0.0.1/cb"], Some("agent.example")),
            ("http://localhost:8000/agent.json", &[], None),
        ] {
            assert_eq!(client(client_id, redirect_uris).address().as_deref(), address, "{client_id} {redirect_uris:?}");
        }
    }
}
