//! Clients: the agents, and what an admin allows them at most.

use url::Url;

use super::ids::{Audience, is_loopback_host};

/// RFC 6749 section 4.1.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// RFC 6749 section 6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// How a client proves that it is the one (RFC 7591 section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// `client_secret_basic`
    SecretBasic,
    /// `client_secret_post`
    SecretPost,
    /// `private_key_jwt`
    PrivateKeyJwt,
    /// `none`: a public client, told apart by PKCE alone.
    None,
}

impl AuthMethod {
    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }

    /// Reads a stored name; anything unknown authenticates nobody.
    #[must_use]
    pub fn stored(name: &str) -> Option<Self> {
        [Self::SecretBasic, Self::SecretPost, Self::PrivateKeyJwt, Self::None].into_iter().find(|m| m.as_str() == name)
    }
}

/// An OAuth client of the issuer.
#[derive(Clone, Debug)]
pub struct Client {
    /// Our own key.
    pub id: String,
    /// What it calls itself on the wire.
    pub client_id: String,
    /// The name to show.
    pub name: String,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// SHA-256 of its secret.
    pub secret_hash: Option<String>,
    /// Its public keys, as the JSON that was registered.
    pub jwks: Option<String>,
    /// Exact redirect URIs.
    pub redirect_uris: Vec<String>,
    /// The grants it was registered for.
    pub grant_types: Vec<String>,
    /// The admin's ceiling: audiences, or `*` where the user alone decides.
    pub audiences: Vec<String>,
    /// The platform's own: signs in without asking, may have the scope `delegations`.
    pub first_party: bool,
    /// Grows with every change.
    pub version: i64,
}

impl Client {
    /// Whether what proves who it is has not changed: a proof judged by one holds for the other.
    #[must_use]
    pub fn same_credentials(&self, other: &Self) -> bool {
        (self.auth_method, &self.secret_hash, &self.jwks) == (other.auth_method, &other.secret_hash, &other.jwks)
    }

    /// Whether it was registered for a grant.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|g| g == grant_type)
    }

    /// Whether the ceiling contains an audience. Exact strings; `*` is the only pattern.
    #[must_use]
    pub fn may_ask_for(&self, audience: &Audience) -> bool {
        self.audiences.iter().any(|a| a == "*" || a == audience.as_str())
    }

    /// Whether a redirect URI is registered: exact string match, but for the port of an http loopback URI of a native app
    /// (RFC 9700 section 2.1, RFC 8252 section 7.3).
    #[must_use]
    pub fn redirects_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| registered == uri || same_but_loopback_port(registered, uri))
    }

    /// The host a person is shown beside the self-declared name: of the first redirect URI, else nothing.
    #[must_use]
    pub fn host(&self) -> String {
        let first = self.redirect_uris.first().and_then(|uri| Url::parse(uri).ok());
        first.map_or_else(|| self.client_id.clone(), |url| super::ids::authority(&url))
    }
}

fn same_but_loopback_port(registered: &str, given: &str) -> bool {
    let (Ok(mut a), Ok(mut b)) = (Url::parse(registered), Url::parse(given)) else { return false };
    // `localhost` is left out on purpose: RFC 8252 section 8.3 advises against it, and a name can be made to resolve elsewhere.
    let literal = |u: &Url| u.scheme() == "http" && is_loopback_host(u) && u.domain().is_none();
    if !literal(&a) || !literal(&b) || given.contains('#') {
        return false;
    }
    a.set_port(None).is_ok() && b.set_port(None).is_ok() && a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(redirect: &str) -> Client {
        Client {
            id: String::new(),
            client_id: "c".into(),
            name: "C".into(),
            auth_method: AuthMethod::None,
            secret_hash: None,
            jwks: None,
            redirect_uris: vec![redirect.into()],
            grant_types: vec![AUTHORIZATION_CODE.into()],
            audiences: vec!["https://a.example".into()],
            first_party: false,
            version: 1,
        }
    }

    #[test]
    fn redirects_match_exactly_but_for_a_loopback_port() {
        let web = "https://agent.example/cb";
        let native = "http://127.0.0.1:8765/cb";
        let cases = [
            (web, web, true),
            (web, "https://agent.example/cb/", false),
            (web, "https://agent.example:8443/cb", false),
            (web, "https://agent.example/cb?x=1", false),
            (web, "https://AGENT.example/cb", false),
            (native, "http://127.0.0.1:1/cb", true),
            (native, "http://127.0.0.1/cb", true),
            (native, "http://127.0.0.1:1/other", false),
            (native, "http://localhost:8765/cb", false),
            (native, "http://127.0.0.1:1/cb#f", false),
            (native, "https://127.0.0.1:1/cb", false),
            ("http://localhost:8765/cb", "http://localhost:1/cb", false),
        ];
        for (registered, given, expected) in cases {
            assert_eq!(client(registered).redirects_to(given), expected, "{registered} {given}");
        }
    }

    #[test]
    fn the_ceiling_is_exact() {
        let client = client("https://agent.example/cb");
        assert!(client.may_ask_for(&Audience::parse("https://a.example").unwrap()));
        assert!(!client.may_ask_for(&Audience::parse("https://a.example/").unwrap()));
    }
}
