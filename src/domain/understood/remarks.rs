//! What is odd in a document, for whoever has to find out why it was not understood as its author meant it.

use serde_json::{Map, Value};

use super::super::members::quote;
use super::super::spelling::{distance, nearest, printable};
use super::members::{Found, Members};
use super::{MAX_REMARKS, Remark};

/// Members of RFC 8414, RFC 9728 and OpenID Connect Discovery that somebody may have meant.
const KNOWN: [&str; 22] = [
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "registration_endpoint",
    "scopes_supported",
    "response_types_supported",
    "response_modes_supported",
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "service_documentation",
    "ui_locales_supported",
    "op_policy_uri",
    "op_tos_uri",
    "revocation_endpoint",
    "introspection_endpoint",
    "code_challenge_methods_supported",
    "authorization_grant_profiles_supported",
    "protected_resources",
    "resource",
    "authorization_servers",
    "agent_auth",
];
/// Members of `agent_auth`.
const KNOWN_AGENT: [&str; 14] = [
    "skill",
    "identity_endpoint",
    "register_uri",
    "registration_endpoint",
    "claim_endpoint",
    "claim_uri",
    "events_endpoint",
    "revocation_uri",
    "revocation_endpoint",
    "identity_types_supported",
    "identity_assertion",
    "anonymous",
    "events_supported",
    "scopes_supported",
];
/// Where authors explain themselves.
const NOTES: [&str; 6] = ["_comment", "comment", "note", "notes", "registration_note", "status"];
/// How far apart a slip of the pen is.
const SLIP: usize = 2;

/// Remarks, at most one on each member.
#[derive(Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    /// What is odd whatever becomes of the documents.
    pub(super) fn of(members: &Members<'_>) -> Self {
        let mut remarks = Self::default();
        for document in members.documents() {
            remarks.look_at(document.url, "", document.body, &KNOWN);
            remarks.look_at_server(document.url, document.body);
        }
        if let Some((url, block)) = members.agent {
            remarks.look_at(url, "agent_auth.", block, &KNOWN_AGENT);
        }
        remarks
    }

    pub(super) fn add(&mut self, found: &Found<'_>, why: impl Into<String>) {
        self.push(found.document, &found.member, why.into());
    }

    fn push(&mut self, document: &str, member: &str, why: String) {
        let there = self.0.iter().any(|remark| remark.document == document && remark.member == member);
        if !there && self.0.len() < MAX_REMARKS {
            self.0.push(Remark { document: document.to_owned(), member: printable(member), why });
        }
    }

    /// All of them.
    pub(super) fn kept(self) -> Vec<Remark> {
        self.0
    }

    fn look_at(&mut self, document: &str, within: &str, body: &Map<String, Value>, known: &[&str]) {
        for (name, value) in body {
            if self.0.len() >= MAX_REMARKS {
                return;
            }
            let member = format!("{within}{name}");
            let is_address = name.ends_with("_endpoint") || name.ends_with("_uri");
            if NOTES.contains(&name.as_str()) {
                if let Some(text) = value.as_str() {
                    self.push(document, &member, format!("it says of itself: {}", long(text)));
                }
                continue;
            }
            if !known.contains(&name.as_str()) && name.len() > 6 {
                let meant = nearest(name, known.iter().copied()).filter(|meant| distance(name, meant) <= SLIP);
                if let Some(meant) = meant {
                    self.push(document, &member, format!("it is unknown; {meant} may be what was meant"));
                    continue;
                }
            }
            match value {
                Value::Null if is_address => self.push(document, &member, "it is null".to_owned()),
                Value::String(text) if name == "skill" && !text.contains("://") => {
                    self.push(document, &member, format!("{} is relative", quote(text)));
                }
                Value::String(text) if is_address && text.contains('?') => {
                    self.push(document, &member, "it has a query".to_owned());
                }
                _ => {}
            }
        }
    }

    fn look_at_server(&mut self, document: &str, body: &Map<String, Value>) {
        let is_server = body.contains_key("issuer");
        if body.get("agent_auth").is_some_and(|block| !block.is_object()) {
            self.push(document, "agent_auth", "it is not an object".to_owned());
        }
        if is_server && body.contains_key("authorization_servers") {
            self.push(
                document,
                "authorization_servers",
                "it belongs in the metadata of a resource (RFC 9728)".to_owned(),
            );
        }
        let same = |a: &str, b: &str| body.get(a).is_some_and(|v| v.is_string() && body.get(b) == Some(v));
        if same("revocation_endpoint", "token_endpoint") {
            let why = "it is the token endpoint as well, and for clients that revoke their own tokens (RFC 7009): no notice is sent there";
            self.push(document, "revocation_endpoint", why.to_owned());
        }
        let jwks = body.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        if jwks.ends_with("/http-message-signatures-directory") {
            self.push(document, "jwks_uri", "it is a directory of keys for HTTP message signatures".to_owned());
        }
        let types = body.get("response_types_supported").and_then(Value::as_array);
        if types.is_some_and(|types| types.iter().any(|one| one == "none")) {
            self.push(document, "response_types_supported", "none is no response type of its own here".to_owned());
        }
    }
}

/// Somebody else's words, on one line and not too many of them.
fn long(text: &str) -> String {
    let mut short: String = text.chars().take(200).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
