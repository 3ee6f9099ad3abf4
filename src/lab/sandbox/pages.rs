//! What the sandbox publishes about itself: two metadata documents, `auth.md` and a page.

use serde_json::{Value, json};

use super::verify::SCOPES;
use super::{CREDENTIAL_TYPES, ID_JAG_TYPE};
use crate::domain::claims::REVOKED_EVENT;

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

/// Authorization server metadata with the `agent_auth` block of auth.md v0.1. It names only what is really accepted, so there is
/// no `claim_uri` and no `anonymous`.
pub(super) fn authorization_server(origin: &str) -> Value {
    json!({
        "issuer": origin,
        "resource": format!("{origin}/api/"),
        "authorization_servers": [origin],
        "scopes_supported": SCOPES,
        "bearer_methods_supported": ["header"],
        "agent_auth": {
            "skill": format!("{origin}/auth.md"),
            "register_uri": format!("{origin}/agent/auth"),
            "revocation_uri": format!("{origin}/agent/auth/revoke"),
            "identity_types_supported": ["identity_assertion"],
            "identity_assertion": {
                "assertion_types_supported": [ID_JAG_TYPE],
                "credential_types_supported": CREDENTIAL_TYPES,
            },
            "events_supported": [REVOKED_EVENT],
        },
    })
}

/// The prose companion of the metadata (auth.md v0.1, "Publish auth.md").
pub(super) fn auth_md(origin: &str) -> String {
    format!(
        "# Avouch Sandbox\n\n\
         A relying service to test against. It keeps everything in memory and forgets it when it stops.\n\n\
         - Flow: agent verified (ID-JAG) only.\n\
         - Protected resource metadata: {origin}/.well-known/oauth-protected-resource\n\
         - Registration: POST {origin}/agent/auth\n\
         - Revocation: POST {origin}/agent/auth/revoke\n\n\
         | scope | meaning |\n| --- | --- |\n\
         | `api.read` | Read {origin}/api/resource |\n\
         | `api.write` | Write to it; nothing is really written |\n"
    )
}

/// The page at the root. `origin` was parsed as a URL and holds nothing that HTML would take for markup.
pub(super) fn index(origin: &str) -> String {
    let rows = [
        ("GET", "/.well-known/oauth-protected-resource", "what it protects, and who guards it"),
        ("GET", "/.well-known/oauth-authorization-server", "how agents register (agent_auth)"),
        ("GET", "/auth.md", "the same for readers"),
        ("POST", "/agent/auth", "an ID-JAG in, a credential out"),
        ("POST", "/agent/auth/revoke", "a logout token in; that user's credentials end"),
        ("GET, POST", "/api/resource", "says whom the credential stands for"),
    ];
    let mut list = String::new();
    for (method, path, meaning) in rows {
        list = list + "<tr><td>" + method + "<td><code>" + path + "</code><td>" + meaning + "\n";
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Avouch Sandbox</title>\n\
         <h1>Avouch Sandbox</h1>\n<p>A strict relying service of auth.md v0.1 at <code>{origin}</code>, for tests. It keeps \
         everything in memory and forgets it when it stops.</p>\n<table>\n{list}</table>\n"
    )
}
