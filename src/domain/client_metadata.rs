//! The rulebook for what a client says about itself, by whichever door it comes in (RFC 7591 section 2, whose names it has).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::display_name::DisplayName;
use super::logout_uri::LogoutUri;
use super::members::{self, MemberError, check_list, quote};
use super::public_jwks::PublicJwks;
use super::redirect_uri::RedirectUri;
use super::rotation::SigningAlg;

/// RFC 6749 section 4.1.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// RFC 6749 section 6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// RFC 7523 section 2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Most entries of a list.
const MAX_ENTRIES: usize = 32;

/// How a client proves that it is the one (RFC 7591 section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
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
    const ALL: [Self; 4] = [Self::SecretBasic, Self::SecretPost, Self::PrivateKeyJwt, Self::None];

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

    /// Whether both sides must know a secret.
    #[must_use]
    pub fn is_shared_secret(self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost)
    }
}

impl TryFrom<String> for AuthMethod {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|method| method.as_str() == name);
        known.ok_or_else(|| format!("{} is not supported", quote(&name)))
    }
}

impl From<AuthMethod> for &'static str {
    fn from(method: AuthMethod) -> Self {
        method.as_str()
    }
}

/// How metadata came in. Registration (RFC 7591) and administration will be one more each: what they are stricter about stands in
/// [`ClientMetadata::validate`], and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The operator's file: whatever could not work is a mistake of somebody who can mend it now.
    Configuration,
    /// A Client ID Metadata Document: written for every authorization server at once, so it may ask for grants that are unknown here, and
    /// need not name redirect URIs if it does not use them (CIMD -02 section 4.2).
    Cimd,
}

/// What a client says about itself. A text of the client's is only here once its type has judged it; what follows from several members is
/// judged by [`ClientMetadata::validate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// The name to show.
    #[serde(default)]
    pub client_name: Option<DisplayName>,
    /// How it authenticates at the token endpoint.
    pub token_endpoint_auth_method: AuthMethod,
    /// Its public keys.
    #[serde(default)]
    pub jwks: Option<PublicJwks>,
    /// Where it may be answered.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// What it may ask the token endpoint for.
    #[serde(default = "default_grants")]
    pub grant_types: Vec<String>,
    /// What its ID tokens are signed with (OpenID Connect Dynamic Client Registration 1.0 section 2). ES256 unless it says RS256, which is
    /// all that many libraries know.
    #[serde(default = "default_alg")]
    pub id_token_signed_response_alg: SigningAlg,
    /// Where it is told that a user signed out (OpenID Connect Back-Channel Logout 1.0 section 2.2).
    #[serde(default)]
    pub backchannel_logout_uri: Option<LogoutUri>,
    /// Whether it needs to be told which session that was. It always is.
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// Where a user may go on who was signed out at its wish (OpenID Connect RP-Initiated Logout 1.0 section 3.1).
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
}

fn default_alg() -> SigningAlg {
    SigningAlg::Es256
}

fn default_grants() -> Vec<String> {
    vec![AUTHORIZATION_CODE.to_owned()]
}

impl ClientMetadata {
    /// Reads metadata from its members, and judges it.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn read(members: Map<String, Value>, door: Door) -> Result<Self, MemberError> {
        const METHOD: &str = "token_endpoint_auth_method";
        // RFC 7591 section 2: absent would mean `client_secret_basic`. No door of ours wants that to be meant by silence.
        if members.get(METHOD).is_none_or(Value::is_null) {
            return Err(MemberError::new(METHOD, "it is missing"));
        }
        let metadata: Self = members::read(members)?;
        metadata.validate(door)?;
        Ok(metadata)
    }

    /// Judges what no member's type can judge alone.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self, door: Door) -> Result<(), MemberError> {
        check_list("redirect_uris", self.redirect_uris.iter().map(RedirectUri::as_str), MAX_ENTRIES, |_| Ok(()))?;
        let after = self.post_logout_redirect_uris.iter().map(RedirectUri::as_str);
        check_list("post_logout_redirect_uris", after, MAX_ENTRIES, |_| Ok(()))?;
        check_list("grant_types", self.grant_types.iter().map(String::as_str), MAX_ENTRIES, |_| Ok(()))?;
        match door {
            Door::Configuration => {
                self.fits_its_keys()?;
                self.can_use_its_grants()?;
                self.can_be_told()?;
            }
            Door::Cimd => self.shares_no_secret()?,
        }
        // No key of a kind we know would be found out by the first assertion only.
        if self.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt
            && self.jwks.as_ref().is_some_and(|jwks| !jwks.has_usable_key())
        {
            return Err(MemberError::new(
                "jwks",
                "none of its keys is of a kind used here: EC on P-256, or RSA of at least 2048 bits",
            ));
        }
        Ok(())
    }

    fn fits_its_keys(&self) -> Result<(), MemberError> {
        let wrong = |problem: String| Err(MemberError::new("token_endpoint_auth_method", problem));
        match (self.token_endpoint_auth_method, &self.jwks) {
            (AuthMethod::PrivateKeyJwt, None) => wrong("\"private_key_jwt\" needs jwks and no client_secret".into()),
            (AuthMethod::None, Some(_)) => wrong("\"none\" is a public client: no client_secret and no jwks".into()),
            (method @ (AuthMethod::SecretBasic | AuthMethod::SecretPost), Some(_)) => {
                wrong(format!("\"{}\" needs a client_secret and no jwks", method.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// CIMD -02 section 4.1: a document that everybody reads holds no secret, and needs none.
    fn shares_no_secret(&self) -> Result<(), MemberError> {
        if self.token_endpoint_auth_method.is_shared_secret() {
            return Err(MemberError::new(
                "token_endpoint_auth_method",
                "it rests on a shared secret: it must be private_key_jwt or none",
            ));
        }
        Ok(())
    }

    fn can_be_told(&self) -> Result<(), MemberError> {
        let signs_in = self.grant_types.iter().any(|grant| grant == AUTHORIZATION_CODE);
        if self.backchannel_logout_uri.is_some() && !signs_in {
            let problem = format!("a client without \"{AUTHORIZATION_CODE}\" signs nobody in");
            return Err(MemberError::new("backchannel_logout_uri", problem));
        }
        if !self.post_logout_redirect_uris.is_empty() && !signs_in {
            let problem = format!("a client without \"{AUTHORIZATION_CODE}\" signs nobody in");
            return Err(MemberError::new("post_logout_redirect_uris", problem));
        }
        if self.backchannel_logout_session_required && self.backchannel_logout_uri.is_none() {
            return Err(MemberError::new("backchannel_logout_session_required", "it needs a backchannel_logout_uri"));
        }
        Ok(())
    }

    fn can_use_its_grants(&self) -> Result<(), MemberError> {
        const KEY: &str = "grant_types";
        let known = [AUTHORIZATION_CODE, REFRESH_TOKEN, TOKEN_EXCHANGE];
        if let Some(other) = self.grant_types.iter().find(|grant| !known.contains(&grant.as_str())) {
            let [code, refresh, exchange] = known;
            let problem = format!("{} is unknown; choose from \"{code}\", \"{refresh}\", \"{exchange}\"", quote(other));
            return Err(MemberError::new(KEY, problem));
        }
        if self.grant_types.is_empty() {
            return Err(MemberError::new(
                KEY,
                "a client without a grant can do nothing; leave the key out for the default",
            ));
        }
        let has = |wanted: &str| self.grant_types.iter().any(|grant| grant == wanted);
        if has(AUTHORIZATION_CODE) && self.redirect_uris.is_empty() {
            let problem = format!("a client with \"{AUTHORIZATION_CODE}\" needs at least one");
            return Err(MemberError::new("redirect_uris", problem));
        }
        if has(TOKEN_EXCHANGE) && self.token_endpoint_auth_method == AuthMethod::None {
            return Err(MemberError::new(
                KEY,
                "token exchange needs a client that authenticates; for public clients it is not supported yet",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value, door: Door) -> Result<ClientMetadata, String> {
        ClientMetadata::read(value.as_object().unwrap().clone(), door).map_err(|error| error.to_string())
    }

    /// Metadata that keeps every rule of every door, with some members replaced.
    fn with(changes: &Value) -> Value {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
        let mut members = json!({
            "client_name": "Desk Agent",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [ec]},
            "redirect_uris": ["https://a.example/cb", "http://127.0.0.1/cb"],
            "grant_types": [AUTHORIZATION_CODE, TOKEN_EXCHANGE],
        });
        for (name, value) in changes.as_object().unwrap() {
            members[name] = value.clone();
        }
        members
    }

    #[test]
    fn every_door_has_the_same_rules() {
        let same = [
            (json!({"token_endpoint_auth_method": null}), "token_endpoint_auth_method: it is missing"),
            (json!({"token_endpoint_auth_method": "tls_client_auth"}), "\"tls_client_auth\" is not supported"),
            (json!({"client_name": "a\u{202e}b"}), "client_name: it contains an invisible character"),
            (json!({"client_name": ["a"]}), "client_name: invalid type: sequence"),
            (json!({"redirect_uris": "https://a.example/"}), "redirect_uris: invalid type: string"),
            (
                json!({"redirect_uris": ["https://a.example/#"]}),
                "redirect_uris: \"https://a.example/#\": it must not have",
            ),
            (json!({"redirect_uris": ["javascript:alert(1)"]}), "a private-use scheme that contains a dot"),
            (json!({"redirect_uris": ["https://a.example/", "https://a.example/"]}), "is listed twice"),
            (
                json!({"redirect_uris": (0..33).map(|n| format!("https://a.example/{n}")).collect::<Vec<_>>()}),
                "more than 32",
            ),
            (
                json!({"post_logout_redirect_uris": ["http://a.example/out"]}),
                "post_logout_redirect_uris: \"http://a.example/out\": it must be https",
            ),
            (json!({"post_logout_redirect_uris": ["https://a.example/", "https://a.example/"]}), "is listed twice"),
            (json!({"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}), "jwks: it holds a private or symmetric key"),
            (
                json!({"jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "eA"}]}}),
                "jwks: none of its keys is of a kind",
            ),
            (json!({"backchannel_logout_uri": "http://a.example/"}), "backchannel_logout_uri: it must be https"),
            (
                json!({"backchannel_logout_uri": ["https://a.example/"]}),
                "backchannel_logout_uri: invalid type: sequence",
            ),
            (
                json!({"backchannel_logout_uri": "https://a.example/", "backchannel_logout_session_required": "yes"}),
                "backchannel_logout_session_required: invalid type: string",
            ),
        ];
        let told =
            json!({"backchannel_logout_uri": "https://a.example/out", "backchannel_logout_session_required": true});
        for door in [Door::Configuration, Door::Cimd] {
            assert!(read(&with(&json!({})), door).is_ok());
            assert!(read(&with(&told), door).unwrap().backchannel_logout_session_required);
            for (changes, expected) in &same {
                let problem = read(&with(changes), door).map(|_| "accepted").unwrap_err();
                assert!(problem.contains(expected), "{door:?} {changes}: {problem}");
            }
        }
    }

    #[test]
    fn where_the_doors_differ() {
        let rules = [
            (json!({"token_endpoint_auth_method": "client_secret_basic", "jwks": null}), None, Some("shared secret")),
            (
                json!({"token_endpoint_auth_method": "client_secret_basic"}),
                Some("needs a client_secret and no jwks"),
                Some("shared secret"),
            ),
            (json!({"token_endpoint_auth_method": "none", "grant_types": null}), Some("no jwks"), None),
            (json!({"jwks": null}), Some("\"private_key_jwt\" needs jwks"), None),
            (json!({"redirect_uris": []}), Some("needs at least one"), None),
            (json!({"backchannel_logout_session_required": true}), Some("it needs a backchannel_logout_uri"), None),
            (
                json!({"grant_types": [TOKEN_EXCHANGE], "backchannel_logout_uri": "https://a.example/"}),
                Some("signs nobody in"),
                None,
            ),
            (json!({"grant_types": ["urn:example:grant"]}), Some("is unknown; choose from"), None),
            (json!({"grant_types": []}), Some("can do nothing"), None),
            (
                json!({"token_endpoint_auth_method": "none", "jwks": null, "grant_types": [TOKEN_EXCHANGE]}),
                Some("for public clients it is not supported yet"),
                None,
            ),
        ];
        for (changes, configuration, cimd) in rules {
            for (door, expected) in [(Door::Configuration, configuration), (Door::Cimd, cimd)] {
                let problem = read(&with(&changes), door).err();
                match (problem, expected) {
                    (None, None) => {}
                    (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{changes}: {problem}"),
                    other => panic!("{door:?} {changes}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn silence_means_the_authorization_code_grant() {
        let least = read(&json!({"token_endpoint_auth_method": "none"}), Door::Cimd).unwrap();
        assert_eq!((least.grant_types, least.redirect_uris, least.client_name), (default_grants(), vec![], None));
    }
}
