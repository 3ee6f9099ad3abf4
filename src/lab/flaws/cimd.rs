//! Flaws of a Client ID Metadata Document: what a service answers to an assertion whose `client_id` leads there.

use serde_json::json;

use super::document::{ELSEWHERE, Response};

flaws! { Cimd Document;
    "cimd-not-found" "The document is not there."
        Cimd "5", Must Client Service ["response"]
        unless "accept-documents-of-failures" or "trust-client-id" => |d, _| d.response = Response::Status(404);
    "cimd-fails" "The document's server fails, with the document in the body of its 500."
        Cimd "5", Must Client Service ["response"]
        unless "accept-documents-of-failures" or "trust-client-id" => |d, _| {
            d.response = Response::Status(500);
        };
    "cimd-redirects" "The document is said to be elsewhere, and redirects are not followed."
        Cimd "5", Must Client Service ["response"]
        unless "follow-cimd-redirects" or "trust-client-id" => |d, _| {
            d.response = Response::Redirect;
        };
    "cimd-slow" "The document comes after three seconds."
        Rfc9112 "9.5", Should Tolerated Service ["response"] => |d, _| d.response = Response::Slow(3);
    "cimd-hangs" "The document does not come within two minutes."
        Rfc9112 "9.5", Should Client Service ["response"]
        unless "wait-for-ever" or "trust-client-id" => |d, _| {
            d.response = Response::Slow(120);
        };
    "cimd-drips" "The document comes at one byte a second."
        Rfc9112 "9.5", Should Client Service ["response"]
        unless "wait-for-ever" or "trust-client-id" => |d, _| d.response = Response::Drip;
    "cimd-huge" "The document is longer than the five kilobytes that are recommended as the most."
        Cimd "8.7", Should Client Service ["response"]
        unless "read-without-bounds" or "trust-client-id" => |d, _| {
            d.response = Response::Huge(64);
        };
    "cimd-truncated" "The document breaks off in the middle."
        Cimd "4", Must Client Service ["response"]
        unless "trust-client-id" => |d, _| d.response = Response::Truncated;
    "cimd-in-html" "The document is a page of HTML."
        Cimd "4", Must Client Service ["response"]
        unless "trust-client-id" => |d, _| d.response = Response::Html;
    "cimd-as-text" "The document is JSON and called plain text."
        Cimd "4", Should Client Service ["response"]
        unless "accept-any-content-type" or "trust-client-id" => |d, _| {
            d.response = Response::Typed("text/plain");
        };
    "cimd-of-another-client" "The document names another client than its address."
        Cimd "4", Must Client Service ["members.client_id"]
        unless "ignore-client-id-of-document" or "trust-client-id" => |d, _| {
            d.set("client_id", ELSEWHERE);
        };
    "cimd-without-client-id" "The document does not name its client."
        Cimd "4", Must Client Service ["members.client_id"]
        unless "ignore-client-id-of-document" or "trust-client-id" => |d, _| {
            d.members.remove("client_id");
        };
    "cimd-with-a-secret" "The document holds a client secret."
        Cimd "4.1", Must Client Service ["members.client_secret"]
        unless "accept-published-secrets" or "trust-client-id" => |d, _| {
            d.set("client_secret", "lab");
        };
    "cimd-with-a-method-of-secrets" "The document says that the client authenticates by a secret."
        Cimd "4.1", Must Client Service ["members.token_endpoint_auth_method"]
        unless "accept-shared-secrets" or "trust-client-id" => |d, _| {
            d.set("token_endpoint_auth_method", "client_secret_basic");
        };
    "cimd-with-a-private-key" "The document holds a private key."
        Cimd "8.2", Must Client Service ["members.jwks" "members.jwks_uri"]
        unless "trust-client-id" => |d, cast| {
            let key = cast.issuer.holder.to_jwk().ok().and_then(|jwk| serde_json::from_str::<serde_json::Value>(&jwk).ok());
            d.members.remove("jwks_uri");
            d.set("jwks", json!({"keys": [key]}));
        };
    "cimd-with-keys-twice" "The document holds keys and says where they are as well."
        Rfc7591 "2", Must Client Service ["members.jwks"]
        unless "accept-keys-twice" or "trust-client-id" => |d, cast| {
            d.set("jwks", json!({"keys": [cast.issuer.key.public_jwk()]}));
        };
    "cimd-with-other-keys" "The document leads to other keys than those that signed."
        AuthMd "CIMD resolution", Must Client Service ["members.jwks_uri"]
        unless "ignore-jwks-uri-of-document" or "accept-any-issuer" or "trust-client-id" => |d, cast| {
            d.set("jwks_uri", format!("{}/jwks.json", cast.others.url));
        };
    "cimd-with-keys-at-a-private-address" "The document says that the keys are at an address that is nobody's business."
        Cimd "8.6", Must Client Service ["members.jwks_uri"]
        unless "ignore-jwks-uri-of-document" or "accept-any-issuer" or "trust-client-id" => |d, _| {
            d.set("jwks_uri", "https://169.254.169.254/latest/meta-data");
        };
    "cimd-with-a-logo-of-script" "The document's logo is a script."
        Cimd "8.6", Should Client Service ["members.logo_uri"]
        unless "accept-any-scheme" or "trust-client-id" => |d, _| {
            d.set("logo_uri", "javascript:alert(1)");
        };
    "cimd-with-changed-keys" "The keys of the document have changed; what users agreed to stands."
        Cimd "8.2", Policy Tolerated Service ["members.jwks_uri"]
        unless "drop-consents-when-keys-change" => |d, cast| {
            d.set("jwks_uri", format!("{}/jwks.json", cast.issuer.url));
        };
    "cimd-with-a-list-of-ids" "The document names its client in a list and not as a text."
        Cimd "4", Must Client Service ["members.client_id"]
        unless "ignore-client-id-of-document" or "trust-client-id" => |d, _| {
            let id = d.members.get("client_id").cloned();
            d.set("client_id", json!([id]));
        };
}
