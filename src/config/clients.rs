//! `[[clients]]`: the agents an operator registers, each with its ceiling.

use super::issuers::Homes;
use super::section::Section;
use super::{ClientDecl, ConfigError};
use crate::domain::client::ClientPolicy;
use crate::domain::client_metadata::ClientMetadata;
use crate::domain::members::{names, quote};
use crate::domain::registered_client;

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
    let client_id = registered_client::id(id).map_err(|error| section.refused(error))?;
    if let Some(secret) = &secret {
        if metadata.contains_key("jwks") {
            return Err(section.wrong("jwks", "give either a client_secret or jwks, not both"));
        }
        registered_client::secret(secret.expose(), homes.default).map_err(|error| section.refused(error))?;
    }
    let read = registered_client::metadata(metadata, secret.is_some());
    let metadata = read.map_err(|error| section.refused(error))?;
    let policy = registered_client::policy(policy, &metadata, &home.url).map_err(|error| section.refused(error))?;
    Ok(ClientDecl { issuer: home.id, client_id, metadata, policy, secret })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECRET, accepts, load, refuses_with};
    use super::*;
    use crate::domain::client_metadata::{AUTHORIZATION_CODE, AuthMethod, TOKEN_EXCHANGE};

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
