//! `[[clients]]`: the agents an operator registers, each with its ceiling.

use serde_json::{Map, Value as Json};

use super::issuers::Homes;
use super::section::Section;
use super::values::is_visible;
use super::{ClientDecl, ConfigError};
use crate::domain::client::ClientPolicy;
use crate::domain::client_metadata::{AuthMethod, ClientMetadata, Door};
use crate::domain::ids::{ClientId, IssuerUrl};
use crate::domain::members::{self, names, quote};
use crate::secret::Secret;

/// What a secret that was published as an example begins with.
const EXAMPLE: &str = "example-only";
/// Reads every `[[clients]]` table.
pub(super) fn read(sections: Vec<Section<'_>>, homes: &Homes<'_>) -> Result<Vec<ClientDecl>, ConfigError> {
    let mut clients: Vec<ClientDecl> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let client = client(&mut section, homes)?;
        if clients.iter().any(|known| (&known.issuer, &known.client_id) == (&client.issuer, &client.client_id)) {
            return Err(section.wrong("client_id", format!("{} is declared twice", quote(client.client_id.as_str()))));
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(section: &mut Section<'_>, homes: &Homes<'_>) -> Result<ClientDecl, ConfigError> {
    let issuer = section.text("issuer")?;
    let id = section.text("client_id")?;
    let secret = section.secret("client_secret")?;
    let metadata = section.members(names::<ClientMetadata>().iter().copied());
    let policy = section.members(names::<ClientPolicy>().iter().copied());
    let consents_for = section.list("consents_for")?.unwrap_or_default();
    let public_exchange = section.flag("allow_public_exchange")?.unwrap_or(false);
    section.later("jwks_uri")?;
    section.finish()?;

    let home = homes.of(section, issuer.as_deref())?;
    if !consents_for.is_empty() {
        return Err(section.wrong("consents_for", "a list that is not empty is not supported yet"));
    }
    if public_exchange {
        return Err(section.wrong("allow_public_exchange", "true is not supported yet"));
    }
    let client_id = id.ok_or_else(|| section.wrong("client_id", "every client needs one"))?;
    let client_id = registered_id(client_id).map_err(|problem| section.wrong("client_id", problem))?;
    let metadata = read_metadata(section, metadata, secret.as_ref(), homes.default)?;
    let policy: ClientPolicy = members::read(policy).map_err(|error| section.refused(error))?;
    policy.validate(&home.url).and_then(|()| policy.suits(&metadata)).map_err(|error| section.refused(error))?;
    Ok(ClientDecl { issuer: home.id, client_id, metadata, policy, secret })
}

/// A URL as client id is a document to fetch, so a registered one must not look like it (CIMD -02 section 7.1).
fn registered_id(id: String) -> Result<ClientId, String> {
    if !is_visible(&id, 255) {
        return Err(format!("{} must be 1 to 255 visible ASCII characters", quote(&id)));
    }
    let lower = id.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Err(format!("{} must not begin like a URL: a client named by one brings its own document", quote(&id)));
    }
    id.try_into()
}

/// How it authenticates follows from what is given, unless it is said.
fn read_metadata(
    section: &Section<'_>,
    mut members: Map<String, Json>,
    secret: Option<&Secret>,
    issuer: &IssuerUrl,
) -> Result<ClientMetadata, ConfigError> {
    const METHOD: &str = "token_endpoint_auth_method";
    if let Some(jwks) = members.remove("jwks") {
        members.insert("jwks".into(), key_set(jwks).map_err(|problem| section.wrong("jwks", problem))?);
    }
    let default = match (secret, members.contains_key("jwks")) {
        (Some(_), true) => return Err(section.wrong("jwks", "give either a client_secret or jwks, not both")),
        (Some(_), false) => AuthMethod::SecretBasic,
        (None, true) => AuthMethod::PrivateKeyJwt,
        (None, false) => AuthMethod::None,
    };
    if let Some(secret) = secret {
        check_secret(secret.expose(), issuer).map_err(|problem| section.wrong("client_secret", problem))?;
    }
    members.entry(METHOD).or_insert_with(|| default.as_str().into());
    let metadata = ClientMetadata::read(members, Door::Configuration).map_err(|error| section.refused(error))?;
    let method = metadata.token_endpoint_auth_method;
    match (method.is_shared_secret(), secret) {
        (true, None) => {
            Err(section.wrong(METHOD, format!("\"{}\" needs a client_secret and no jwks", method.as_str())))
        }
        (false, Some(_)) => Err(section.wrong(METHOD, format!("\"{}\" takes no client_secret", method.as_str()))),
        _ => Ok(metadata),
    }
}

/// Only its hash is stored, without a salt, so a secret must be random: 32 bytes are 43 characters of base64url, 64 of hex.
fn check_secret(secret: &str, issuer: &IssuerUrl) -> Result<(), String> {
    const HOW: &str = "make one with: openssl rand -base64 32";
    let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_visible(secret, 1024) {
        return Err("it must be visible ASCII without spaces, at most 1024 characters".to_owned());
    }
    if secret.len() < if hex { 64 } else { 43 } {
        return Err(format!("it is shorter than 32 random bytes (43 characters, 64 in hex); {HOW}"));
    }
    let mut distinct: Vec<u8> = secret.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    // 64 random hex digits have fewer than 12 different ones less than once in a million.
    let repeats =
        (1..=secret.len() / 2).any(|period| secret.as_bytes()[period..] == secret.as_bytes()[..secret.len() - period]);
    if distinct.len() < 12 || repeats {
        return Err(format!("it repeats itself and is not random; {HOW}"));
    }
    if secret.starts_with(EXAMPLE) && !issuer.is_loopback() {
        return Err(format!("it is a published example, known to everybody; {HOW}"));
    }
    Ok(())
}

/// A JWK Set as a table, or as JSON in a text.
fn key_set(given: Json) -> Result<Json, &'static str> {
    match given {
        Json::String(text) => serde_json::from_str(&text)
            .map_err(|_| "expected a JWK Set: an object with `keys`, as a table or as JSON in a text"),
        set => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECRET, accepts, load, refuses_with};
    use super::*;
    use crate::domain::client_metadata::{AUTHORIZATION_CODE, TOKEN_EXCHANGE};

    /// RFC 7517 appendix A.1.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

    fn jwks(keys: &str) -> String {
        format!("jwks = '''{{\"keys\":[{keys}]}}'''")
    }

    #[test]
    fn the_method_follows_from_what_is_given() {
        let auth = |text: &str| {
            let before = "[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']\n";
            load(&format!("{before}{text}")).unwrap_or_else(|error| panic!("{text}: {error}")).clients.remove(0)
        };
        let method = |text: &str| auth(text).metadata.token_endpoint_auth_method;
        let secret = format!("client_secret = '{SECRET}'");
        let post = format!("{secret}\ntoken_endpoint_auth_method = 'client_secret_post'");
        assert_eq!(method(""), AuthMethod::None);
        assert_eq!(method(&secret), AuthMethod::SecretBasic);
        assert_eq!(auth(&secret).secret.unwrap().expose(), SECRET);
        assert_eq!(method(&post), AuthMethod::SecretPost);
        assert_eq!(method(&jwks(EC)), AuthMethod::PrivateKeyJwt);
        let table = format!("jwks = {{ keys = [{}] }}", EC.replace(':', "="));
        assert_eq!(auth(&table).metadata.jwks.unwrap().as_json()["keys"][0]["crv"], "P-256");
    }

    #[test]
    fn defaults_give_nothing_away() {
        let config = load("[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']").unwrap();
        let client = &config.clients[0];
        assert_eq!((client.metadata.client_name.as_ref(), &client.policy), (None, &ClientPolicy::default()));
        assert_eq!(client.metadata.grant_types, [AUTHORIZATION_CODE]);
        let agent =
            format!("[[clients]]\nclient_id = 'a'\nclient_secret = '{SECRET}'\ngrant_types = ['{TOKEN_EXCHANGE}']");
        accepts(
            &agent,
            &[
                "",
                "audiences = ['*']",
                "require_pkce = false",
                "first_party = true\nrequire_pkce = true",
                "audiences = ['https://a.example']",
                "consents_for = []",
                "allow_public_exchange = false",
                "backchannel_logout_session_required = false",
            ],
        );
    }

    #[test]
    fn rules() {
        refuses_with(
            "[[clients]]",
            &[
                ("", "clients[0].client_id: every client needs one"),
                ("client_id = 'a b'", "1 to 255 visible ASCII"),
                ("client_id = 'https://a.example'", "must not begin like a URL"),
                ("client_id = 'HTTP://a.example'", "must not begin like a URL"),
            ],
        );
        let long = format!("client_id = '{}'", "a".repeat(256));
        refuses_with("[[clients]]", &[(&long, "1 to 255 visible ASCII")]);
        let good = "[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']";
        refuses_with(
            good,
            &[
                (good, "clients[1].client_id: \"a\" is declared twice"),
                ("client_name = ''", "clients[0].client_name: it must contain a letter or a digit"),
                ("client_name = 1", "clients[0].client_name: invalid type: integer `1`, expected a string"),
                ("first_party = 'yes'", "clients[0].first_party: invalid type: string \"yes\", expected a boolean"),
                ("client_nam = 'x'", "clients[0].client_nam: unknown key; the nearest known one is `client_name`"),
                ("jwks_uri = 'https://a.example/jwks'", "clients[0].jwks_uri: this key is not supported yet"),
                ("consents_for = ['b']", "clients[0].consents_for: a list that is not empty is not supported yet"),
                ("first_party = true", "clients[0].first_party: a public client cannot prove who it is"),
                ("require_pkce = false", "clients[0].require_pkce: a public client has nothing but PKCE"),
                ("require_pkce = 0", "clients[0].require_pkce: invalid type: integer `0`, expected a boolean"),
                ("allow_public_exchange = true", "clients[0].allow_public_exchange: true is not supported yet"),
                ("grant_types = []", "a client without a grant can do nothing"),
                ("grant_types = ['implicit']", "clients[0].grant_types: \"implicit\" is unknown"),
                ("grant_types = ['refresh_token', 'refresh_token']", "is listed twice"),
                (
                    "grant_types = ['urn:ietf:params:oauth:grant-type:token-exchange']",
                    "for public clients it is not supported yet",
                ),
                (
                    "backchannel_logout_uri = 'http://a.example/out'",
                    "clients[0].backchannel_logout_uri: it must be https (http only on a loopback host)",
                ),
                (
                    "backchannel_logout_uri = 'https://a.example/#out'",
                    "clients[0].backchannel_logout_uri: it must not have a fragment",
                ),
                ("backchannel_logout_uri = ''", "clients[0].backchannel_logout_uri: it is not an absolute URL"),
                ("backchannel_logout_uri = 1", "clients[0].backchannel_logout_uri: invalid type: integer `1`"),
                (
                    "backchannel_logout_session_required = true",
                    "clients[0].backchannel_logout_session_required: it needs a backchannel_logout_uri",
                ),
                ("backchannel_logout_url = 'https://a.example/'", "the nearest known one is `backchannel_logout_uri`"),
                ("audiences = ['*', 'https://a.example']", "\"*\" stands alone"),
                ("audiences = ['a']", "clients[0].audiences: \"a\": it is not an absolute URL"),
                ("audiences = ['http://localhost:4000']", "is this issuer itself"),
            ],
        );
        refuses_with(
            "[[clients]]\nclient_id = 'a'",
            &[
                ("", "clients[0].redirect_uris: a client with \"authorization_code\" needs at least one"),
                (
                    "redirect_uris = ['http://a.example/']",
                    "clients[0].redirect_uris: \"http://a.example/\": it must be https",
                ),
            ],
        );
    }

    #[test]
    fn credentials_must_fit_the_method() {
        let good = "[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']\ntoken_endpoint_auth_method =";
        let secret = format!("client_secret = '{SECRET}'");
        for (rest, expected) in [
            ("'client_secret_basic'".to_owned(), "\"client_secret_basic\" needs a client_secret"),
            (format!("'client_secret_post'\n{}", jwks(EC)), "\"client_secret_post\" needs a client_secret"),
            (format!("'private_key_jwt'\n{secret}"), "\"private_key_jwt\" needs jwks"),
            (format!("'none'\n{secret}"), "\"none\" takes no client_secret"),
            (format!("'none'\n{}", jwks(EC)), "\"none\" is a public client"),
            ("'tls_client_auth'".to_owned(), "\"tls_client_auth\" is not supported"),
            (format!("'private_key_jwt'\n{secret}\n{}", jwks(EC)), "not both"),
        ] {
            let error = load(&format!("{good} {rest}")).map(|_| "accepted").unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(SECRET), "{rest}\n  gave {error}");
        }
    }

    #[test]
    fn secrets() {
        let (here, public) =
            (IssuerUrl::parse("http://localhost:1").unwrap(), IssuerUrl::parse("https://id.example").unwrap());
        let hex = "00f1e2d3c4b5a69788796a5b4c3d2e1f0f1e2d3c4b5a69788796a5b4c3d2e1f7";
        let example = format!("{EXAMPLE}-Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAs");
        for (secret, issuer) in [(SECRET, &public), (hex, &public), (&example, &here)] {
            assert_eq!(check_secret(secret, issuer), Ok(()), "{secret}");
        }
        for (secret, expected) in [
            (&SECRET[..42], "shorter than 32 random bytes"),
            (&hex[..63], "shorter than 32 random bytes"),
            ("ababababababababababababababababababababababab-", "repeats itself"),
            ("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", "repeats itself"),
            ("Xo3rW9vKq27LhYtZ5bNfUeMd8JcGpAsQ1iTzRk4wBm E", "visible ASCII"),
            (&example, "published example"),
        ] {
            let problem = check_secret(secret, &public).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains(secret), "{secret}: {problem}");
        }
    }

    #[test]
    fn key_sets() {
        let good = "[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']";
        for (text, expected) in [
            (jwks(""), "clients[0].jwks: it must be an object"),
            (
                jwks(r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ","d":"hunter2"}"#),
                "clients[0].jwks: it holds a private",
            ),
            (jwks(&EC.replace("\"x\":\"M", "\"x\":\"N")), "clients[0].jwks: its point is not on the curve"),
            (
                jwks(r#"{"kty":"EC","crv":"P-384","x":"eA","y":"eQ"}"#),
                "clients[0].jwks: none of its keys is of a kind used here",
            ),
            ("jwks = '{'".to_owned(), "clients[0].jwks: expected a JWK Set"),
            ("jwks = 1".to_owned(), "clients[0].jwks: it must be an object"),
        ] {
            let error = load(&format!("{good}\n{text}")).map(|_| "accepted").unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}\n  gave {error}");
        }
    }
}
