//! `[[clients]]`: the agents an operator registers, each with its ceiling.

use serde_json::Value as Json;
use toml::Value;

use super::issuers::{Home, Homes};
use super::section::Section;
use super::services::audience;
use super::values::{is_visible, label, redirect_uri};
use super::wording::quote;
use super::{ClientAuth, ClientDecl, ConfigError};
use crate::domain::ids::IssuerUrl;
use crate::secret::Secret;

const CODE: &str = "authorization_code";
const REFRESH: &str = "refresh_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What a secret that was published as an example begins with.
const EXAMPLE: &str = "example-only";
/// Most keys of one client: enough for a rotation, few enough to try.
const MAX_KEYS: usize = 16;

/// What a client can prove itself by, as given.
struct Credentials {
    method: Option<String>,
    secret: Option<Secret>,
    jwks: Option<Json>,
}

/// Reads every `[[clients]]` table.
pub(super) fn read(sections: Vec<Section<'_>>, homes: &Homes<'_>) -> Result<Vec<ClientDecl>, ConfigError> {
    let mut clients: Vec<ClientDecl> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let client = client(&mut section, homes)?;
        if clients.iter().any(|known| (&known.issuer, &known.client_id) == (&client.issuer, &client.client_id)) {
            return Err(section.wrong("client_id", format!("{} is declared twice", quote(&client.client_id))));
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(section: &mut Section<'_>, homes: &Homes<'_>) -> Result<ClientDecl, ConfigError> {
    let issuer = section.text("issuer")?;
    let id = section.text("client_id")?;
    let name = section.text("client_name")?;
    let method = section.text("token_endpoint_auth_method")?;
    let secret = section.secret("client_secret")?;
    let jwks = section.value("jwks");
    let redirect_uris = section.list("redirect_uris")?;
    let grant_types = section.list("grant_types")?;
    let audiences = section.list("audiences")?;
    let first_party = section.flag("first_party")?.unwrap_or(false);
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
    check_id(&client_id).map_err(|problem| section.wrong("client_id", problem))?;
    let jwks = jwks.map(key_set).transpose().map_err(|problem| section.wrong("jwks", problem))?;
    let auth = authentication(section, Credentials { method, secret, jwks }, homes.default)?;
    let redirect_uris = section.checked_all("redirect_uris", redirect_uris, redirect_uri)?;
    let grant_types = grants(section, grant_types, &auth, &redirect_uris)?;
    let client_name = section.checked("client_name", name, label)?.unwrap_or_else(|| client_id.clone());
    let audiences = ceiling(section, audiences, &home)?;
    Ok(ClientDecl { issuer: home.id, client_id, client_name, auth, redirect_uris, grant_types, audiences, first_party })
}

/// A URL as client id is a document to fetch (CIMD draft), so a registered one must not look like it.
fn check_id(id: &str) -> Result<(), String> {
    if !is_visible(id, 255) {
        return Err(format!("{} must be 1 to 255 visible ASCII characters", quote(id)));
    }
    let lower = id.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Err(format!("{} must not begin like a URL: a client named by one brings its own document", quote(id)));
    }
    Ok(())
}

fn authentication(section: &Section<'_>, given: Credentials, issuer: &IssuerUrl) -> Result<ClientAuth, ConfigError> {
    const KEY: &str = "token_endpoint_auth_method";
    let default = match (&given.secret, &given.jwks) {
        (Some(_), Some(_)) => return Err(section.wrong("jwks", "give either a client_secret or jwks, not both")),
        (Some(_), None) => "client_secret_basic",
        (None, Some(_)) => "private_key_jwt",
        (None, None) => "none",
    };
    let method = given.method.as_deref().unwrap_or(default);
    if let Some(secret) = &given.secret {
        check_secret(secret.expose(), issuer).map_err(|problem| section.wrong("client_secret", problem))?;
    }
    match (method, given.secret, given.jwks) {
        ("client_secret_basic", Some(secret), None) => Ok(ClientAuth::SecretBasic(secret)),
        ("client_secret_post", Some(secret), None) => Ok(ClientAuth::SecretPost(secret)),
        ("private_key_jwt", None, Some(jwks)) => Ok(ClientAuth::PrivateKeyJwt { jwks }),
        ("none", None, None) => Ok(ClientAuth::None),
        ("client_secret_basic" | "client_secret_post", ..) => {
            Err(section.wrong(KEY, format!("\"{method}\" needs a client_secret and no jwks")))
        }
        ("private_key_jwt", ..) => Err(section.wrong(KEY, "\"private_key_jwt\" needs jwks and no client_secret")),
        ("none", ..) => Err(section.wrong(KEY, "\"none\" is a public client: no client_secret and no jwks")),
        (other, ..) => Err(section.wrong(
            KEY,
            format!(
                "{} is unknown; use \"client_secret_basic\", \"client_secret_post\", \"private_key_jwt\" or \"none\"",
                quote(other)
            ),
        )),
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

fn grants(
    section: &Section<'_>,
    given: Option<Vec<String>>,
    auth: &ClientAuth,
    redirect_uris: &[String],
) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "grant_types";
    let grants = given.unwrap_or_else(|| vec![CODE.to_owned()]);
    if let Some(other) = grants.iter().find(|grant| ![CODE, REFRESH, EXCHANGE].contains(&grant.as_str())) {
        let problem = format!("{} is unknown; choose from \"{CODE}\", \"{REFRESH}\", \"{EXCHANGE}\"", quote(other));
        return Err(section.wrong(KEY, problem));
    }
    let has = |wanted: &str| grants.iter().any(|grant| grant == wanted);
    if grants.is_empty() {
        return Err(section.wrong(KEY, "a client without a grant can do nothing; leave the key out for the default"));
    }
    if has(CODE) && redirect_uris.is_empty() {
        return Err(section.wrong("redirect_uris", format!("a client with \"{CODE}\" needs at least one")));
    }
    if has(EXCHANGE) && matches!(auth, ClientAuth::None) {
        return Err(section.wrong(
            KEY,
            "token exchange needs a client that authenticates; for public clients it is not supported yet",
        ));
    }
    Ok(grants)
}

/// Which services an agent may ask for at most; nothing unless set.
fn ceiling(section: &Section<'_>, given: Option<Vec<String>>, home: &Home) -> Result<Vec<String>, ConfigError> {
    let given = given.unwrap_or_default();
    if given == ["*"] {
        return Ok(given);
    }
    if given.iter().any(|text| text == "*") {
        return Err(section.wrong("audiences", "\"*\" stands alone: [\"*\"] leaves the choice to the user"));
    }
    section.checked_all("audiences", Some(given), |text| audience(text, home).map(|_| ()))
}

/// A JWK Set of public keys (RFC 7517 section 5). Only its shape is judged here, and that nobody pasted a private key.
fn key_set(value: Value) -> Result<Json, String> {
    const EXPECTED: &str = "expected a JWK Set: an object with `keys`, as a table or as JSON in a text";
    let set: Json = match value {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| EXPECTED.to_owned())?,
        table @ Value::Table(_) => serde_json::to_value(table).map_err(|_| EXPECTED.to_owned())?,
        _ => return Err(EXPECTED.to_owned()),
    };
    let keys = set.get("keys").and_then(Json::as_array).ok_or(EXPECTED)?;
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(format!("a JWK Set here has 1 to {MAX_KEYS} keys"));
    }
    for (index, key) in keys.iter().enumerate() {
        check_key(key).map_err(|problem| format!("keys[{index}] {problem}"))?;
    }
    Ok(set)
}

fn check_key(key: &Json) -> Result<(), &'static str> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    // 2048 bits, which RFC 7518 section 3.3 asks of RS256, in base64url.
    const SHORTEST_MODULUS: usize = 342;
    let members = key.as_object().ok_or("is not an object")?;
    let text = |name: &str| members.get(name).and_then(Json::as_str).unwrap_or_default();
    if PRIVATE.iter().any(|name| members.contains_key(*name)) {
        return Err("holds a private or symmetric key; give the public part only, and replace the key");
    }
    match text("kty") {
        "EC" if text("crv") == "P-256" && !text("x").is_empty() && !text("y").is_empty() => Ok(()),
        "EC" => Err("must be on the curve P-256 and have x and y"),
        "RSA" if text("n").len() >= SHORTEST_MODULUS && !text("e").is_empty() => Ok(()),
        "RSA" => Err("must have n of at least 2048 bits, and e"),
        _ => Err("must be an EC (P-256) or RSA key"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECRET, accepts, load, refuses_with};
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ"}"#;

    fn jwks(keys: &str) -> String {
        format!("jwks = '''{{\"keys\":[{keys}]}}'''")
    }

    #[test]
    fn the_method_follows_from_what_is_given() {
        let auth = |text: &str| {
            let before = "[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']\n";
            load(&format!("{before}{text}")).unwrap_or_else(|error| panic!("{text}: {error}")).clients.remove(0).auth
        };
        let secret = format!("client_secret = '{SECRET}'");
        let post = format!("{secret}\ntoken_endpoint_auth_method = 'client_secret_post'");
        assert!(matches!(auth(""), ClientAuth::None));
        assert!(matches!(auth(&secret), ClientAuth::SecretBasic(kept) if kept.expose() == SECRET));
        assert!(matches!(auth(&post), ClientAuth::SecretPost(_)));
        assert!(matches!(auth(&jwks(EC)), ClientAuth::PrivateKeyJwt { .. }));
        let table = "jwks = { keys = [{ kty = 'EC', crv = 'P-256', x = 'eA', y = 'eQ' }] }";
        assert!(matches!(auth(table), ClientAuth::PrivateKeyJwt { jwks } if jwks["keys"][0]["crv"] == "P-256"));
    }

    #[test]
    fn defaults_give_nothing_away() {
        let config = load("[[clients]]\nclient_id = 'a'\nredirect_uris = ['https://a.example/']").unwrap();
        let client = &config.clients[0];
        assert_eq!((client.client_name.as_str(), client.first_party), ("a", false));
        assert_eq!(client.grant_types, [CODE]);
        assert!(client.audiences.is_empty());
        let agent = format!("[[clients]]\nclient_id = 'a'\nclient_secret = '{SECRET}'\ngrant_types = ['{EXCHANGE}']");
        accepts(
            &agent,
            &[
                "",
                "audiences = ['*']",
                "audiences = ['https://a.example']",
                "consents_for = []",
                "allow_public_exchange = false",
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
                ("client_name = ''", "clients[0].client_name: it must not be empty"),
                ("jwks_uri = 'https://a.example/jwks'", "clients[0].jwks_uri: this key is not supported yet"),
                ("consents_for = ['b']", "clients[0].consents_for: a list that is not empty is not supported yet"),
                ("allow_public_exchange = true", "clients[0].allow_public_exchange: true is not supported yet"),
                ("grant_types = []", "a client without a grant can do nothing"),
                ("grant_types = ['implicit']", "clients[0].grant_types: \"implicit\" is unknown"),
                ("grant_types = ['refresh_token', 'refresh_token']", "is listed twice"),
                (
                    "grant_types = ['urn:ietf:params:oauth:grant-type:token-exchange']",
                    "for public clients it is not supported yet",
                ),
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
                    "clients[0].redirect_uris: \"http://a.example/\" must be https",
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
            (format!("'none'\n{secret}"), "\"none\" is a public client"),
            (format!("'none'\n{}", jwks(EC)), "\"none\" is a public client"),
            ("'tls_client_auth'".to_owned(), "\"tls_client_auth\" is unknown"),
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
        let rsa = |n: usize| format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, "A".repeat(n));
        let set = |keys: &str| key_set(Value::String(format!("{{\"keys\":[{keys}]}}")));
        assert!(set(EC).is_ok() && set(&rsa(342)).is_ok());
        for (keys, expected) in [
            (String::new(), "1 to 16 keys"),
            (vec![EC; 17].join(","), "1 to 16 keys"),
            ("1".to_owned(), "keys[0] is not an object"),
            (r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ","d":"hunter2"}"#.to_owned(), "private or symmetric"),
            (r#"{"kty":"oct","k":"hunter2"}"#.to_owned(), "private or symmetric"),
            (r#"{"kty":"EC","crv":"P-384","x":"eA","y":"eQ"}"#.to_owned(), "P-256"),
            (r#"{"kty":"EC","crv":"P-256","x":"eA"}"#.to_owned(), "x and y"),
            (format!("{EC},{}", rsa(341)), "keys[1] must have n of at least 2048 bits"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"eA"}"#.to_owned(), "must be an EC (P-256) or RSA key"),
        ] {
            let problem = set(&keys).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{keys}: {problem}");
        }
        for bad in [Value::Integer(1), Value::String("{".to_owned()), Value::String("[]".to_owned())] {
            assert!(key_set(bad).unwrap_err().contains("expected a JWK Set"));
        }
    }
}
