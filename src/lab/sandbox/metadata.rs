//! What the sandbox publishes about itself, in each dialect: it names only what is really accepted.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::claimable::ANONYMOUS_TYPES;
use super::grant::{CLAIM, JWT_BEARER, JWT_DPOP};
use super::identity::{CREDENTIAL_TYPES, EMAIL_TYPE, ID_JAG_TYPE};
use super::receive::GLOBAL_REVOCATION_PATH;
use super::target::SCOPES;
use crate::domain::claims::REVOKED_EVENT;
use crate::lab::flaws::Dialect;

/// Where an agent has a user asked once more.
pub(super) const ASK_AGAIN: &str = "/agent/identity/claim";
/// Where nobody signs in.
pub(super) const AUTHORIZE: &str = "/oauth2/authorize";

/// ID-JAG draft section 7.2.
const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// Protected Resource Metadata (RFC 9728 section 2).
pub(super) fn protected_resource(origin: &str) -> Value {
    json!({
        "resource": format!("{origin}/api/"),
        "resource_name": "Avouch Sandbox",
        "authorization_servers": [origin],
        "scopes_supported": SCOPES,
        "bearer_methods_supported": ["header"],
    })
}

/// Authorization server metadata (RFC 8414 section 2), with the `agent_auth` block of auth.md where the dialect has one.
pub(super) fn authorization_server(origin: &str, dialect: Dialect) -> Value {
    let at = |path: &str| format!("{origin}{path}");
    let mut document = json!({
        "issuer": origin,
        "scopes_supported": SCOPES,
        "global_token_revocation_endpoint": at(GLOBAL_REVOCATION_PATH),
    });
    let mut set = |name: &str, value: Value| document[name] = value;
    if dialect == Dialect::V01 {
        set("resource", json!(at("/api/")));
        set("authorization_servers", json!([origin]));
        set("bearer_methods_supported", json!(["header"]));
    } else {
        set("token_endpoint", json!(at("/oauth2/token")));
        set("revocation_endpoint", json!(at("/oauth2/revoke")));
    }
    match dialect {
        Dialect::V01 => set("agent_auth", v01(origin)),
        Dialect::Flat | Dialect::Nested => {
            let flat = dialect == Dialect::Flat;
            set("jwks_uri", json!(at("/.well-known/jwks.json")));
            set("grant_types_supported", if flat { json!([JWT_BEARER, CLAIM]) } else { json!([JWT_BEARER]) });
            set("token_endpoint_auth_methods_supported", json!(["none"]));
            set("agent_auth", newer(origin));
        }
        Dialect::Plain => {
            // RFC 8414 section 2 wants the types that it has, none; and an endpoint only where there are some, but the SDKs of MCP read no
            // metadata without one.
            set("response_types_supported", json!([]));
            set("authorization_endpoint", json!(at(AUTHORIZE)));
            set("grant_types_supported", json!([JWT_BEARER, JWT_DPOP]));
            set("authorization_grant_profiles_supported", json!([ID_JAG_PROFILE]));
            let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
            set("token_endpoint_auth_methods_supported", json!(methods));
            set("token_endpoint_auth_signing_alg_values_supported", json!(["ES256", "RS256"]));
            set("dpop_signing_alg_values_supported", json!(["ES256", "RS256"]));
            set("client_id_metadata_document_supported", json!(true));
        }
    }
    document
}

fn v01(origin: &str) -> Value {
    json!({
        "skill": format!("{origin}/auth.md"),
        "register_uri": format!("{origin}/agent/auth"),
        "claim_uri": format!("{origin}/agent/auth/claim"),
        "revocation_uri": format!("{origin}/agent/auth/revoke"),
        "identity_types_supported": ["anonymous", "identity_assertion"],
        "anonymous": {"credential_types_supported": ANONYMOUS_TYPES},
        "identity_assertion": {
            "assertion_types_supported": [ID_JAG_TYPE, EMAIL_TYPE],
            "credential_types_supported": CREDENTIAL_TYPES,
        },
        "events_supported": [REVOKED_EVENT],
    })
}

fn newer(origin: &str) -> Value {
    json!({
        "skill": format!("{origin}/auth.md"),
        "identity_endpoint": format!("{origin}/agent/identity"),
        "claim_endpoint": format!("{origin}{ASK_AGAIN}"),
        "events_endpoint": format!("{origin}/agent/event/notify"),
        "identity_types_supported": ["identity_assertion"],
        "identity_assertion": {"assertion_types_supported": [ID_JAG_TYPE]},
        "events_supported": [REVOKED_EVENT],
    })
}

/// What may be asked for, where: method, path, meaning.
pub(super) fn places(dialect: Dialect) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut places = vec![
        ("GET", "/.well-known/oauth-protected-resource", "what it protects, and who guards it"),
        ("GET", "/.well-known/oauth-authorization-server", "how agents register"),
        ("GET", "/auth.md", "the same for readers"),
    ];
    match dialect {
        Dialect::V01 => places.extend([
            (
                "POST",
                "/agent/auth",
                "an ID-JAG in, a credential out; or anonymous, or an e-mail address, for its user to claim",
            ),
            ("POST", "/agent/auth/claim", "the address of whoever is to claim an anonymous registration"),
            ("POST", "/agent/auth/claim/complete", "the code that they have read"),
            ("GET", "/sandbox/mail", "the e-mails that a real service would have sent"),
        ]),
        Dialect::Flat | Dialect::Nested => places.extend([
            ("POST", "/agent/identity", "an ID-JAG in, an assertion of the service's own out"),
            (
                "POST",
                ASK_AGAIN,
                "asks a user once more who was asked whether an account is theirs, and has lost the page or the code",
            ),
            ("POST", "/oauth2/token", "that assertion in, an access token out"),
            ("POST", "/oauth2/revoke", "an access token in; it ends"),
        ]),
        Dialect::Plain => places.extend([
            ("GET", AUTHORIZE, "says that nobody signs in here"),
            ("POST", "/oauth2/token", "an ID-JAG in, by a client that proves who it is; an access token out"),
            ("POST", "/oauth2/revoke", "an access token in; it ends"),
        ]),
    }
    if dialect == Dialect::Nested {
        places.push((
            "POST",
            "/agent/identity/claim/complete",
            "the code that a user has read, where one had to be asked",
        ));
    }
    places.extend([
        ("POST", "/agent/auth/revoke", "a logout token in; that user's credentials end"),
        ("POST", "/agent/event/notify", "a security event token in; that user's credentials end"),
        ("POST", GLOBAL_REVOCATION_PATH, "a user's name in, by order of their issuer; that user's credentials end"),
        ("POST", "/backchannel_logout", "a logout token of OpenID Connect in; that user's credentials end"),
        ("GET, POST", "/api/resource", "says whom the credential stands for"),
        ("GET", "/sandbox/events", "what has happened, as JSON"),
        ("GET", "/sandbox/events/stream", "the same as it happens, as server-sent events"),
        (
            "POST",
            "/sandbox/restart",
            "as if it were started again: with forget-jtis-at-restart, used jtis are forgotten",
        ),
    ]);
    places
}

/// The prose companion of the metadata (auth.md, "Publish auth.md").
pub(super) fn auth_md(origin: &str, dialect: Dialect) -> String {
    let mut text = format!(
        "# Avouch Sandbox\n\n\
         A relying service to test against: {}. It keeps everything in memory and forgets it when it stops.\n\n\
         {}\n\n| | | |\n| --- | --- | --- |\n",
        dialect.title(),
        if dialect == Dialect::V01 {
            "Flows: agent verified (ID-JAG); user claimed, from an anonymous start or by e-mail."
        } else {
            "Flow: agent verified (ID-JAG) only."
        }
    );
    for (method, path, meaning) in places(dialect) {
        let _ = writeln!(text, "| {method} | {origin}{path} | {meaning} |");
    }
    text + &format!(
        "\n| scope | meaning |\n| --- | --- |\n\
         | `api.read` | Read {origin}/api/resource |\n\
         | `api.write` | Write to it; nothing is really written |\n"
    )
}
