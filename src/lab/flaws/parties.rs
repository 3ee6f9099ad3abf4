//! Flaws of an assertion's issuer, audience and client.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::Signer;

/// Whoever reads the issuer before the rest finds none.
const NO_ISSUER: Answer = Answer::Refuse { status: 400, codes: &["invalid_issuer", "invalid_request"] };
const UNNAMED: &[(Dialect, Answer)] =
    &[(Dialect::V01, NO_ISSUER), (Dialect::Flat, NO_ISSUER), (Dialect::Nested, NO_ISSUER)];

/// auth.md's clients do not authenticate: what the claim names need not be somebody else's.
const UNAUTHENTICATED: &[(Dialect, Answer)] =
    &[(Dialect::V01, Answer::Open), (Dialect::Flat, Answer::Open), (Dialect::Nested, Answer::Open)];

flaws! { Assertion Token;
    "iss-untrusted" "The issuer is one that the service does not trust; its keys are published, and one of them signed."
        AuthMd "Verifying ID-JAGs", Must Issuer Library ["claims.client_id" "claims.iss" "header.kid" "key"]
        unless "accept-any-issuer" => |d, cast| {
            // Where the client is the issuer's own document, that is the issuer in another spelling.
            if let Some(rest) = d.text("client_id").strip_prefix(cast.issuer.url.as_str()) {
                d.set("client_id", format!("{}{rest}", cast.untrusted.url));
            }
            d.set("iss", &cast.untrusted.url);
            d.head("kid", cast.untrusted.key.kid());
            d.signer = Signer::Untrusted;
        };
    "iss-untrusted-with-a-trusted-key" "The issuer is one that the service does not trust, and a trusted one's key signed."
        AuthMd "Verifying ID-JAGs", Must Issuer Library ["claims.iss"] unless "accept-any-issuer" => |d, cast| {
            d.set("iss", &cast.untrusted.url);
        };
    "iss-with-a-slash" "The issuer has a slash at its end that its name does not have."
        Rfc8414 "3.3", Must Issuer Library ["claims.iss"] unless "accept-issuer-with-slash" or "accept-issuer-prefix" => |d, _| {
            let iss = d.text("iss");
            d.set("iss", format!("{iss}/"));
        };
    "iss-that-begins-alike" "The issuer is another one, whose name begins with that of the trusted one."
        AuthMd "Verifying ID-JAGs", Must Issuer Library ["claims.iss"] unless "accept-issuer-prefix" or "accept-any-issuer" => |d, _| {
            let iss = d.text("iss");
            d.set("iss", format!("{}/of-others", iss.trim_end_matches('/')));
        };
    "iss-missing" "There is no issuer."
        Rfc7523 "3", Must Issuer Library ["claims.iss"] except UNNAMED => |d, _| {
            d.claims.remove("iss");
        };
    "iss-in-a-list" "The issuer is in a list, beside one that nobody trusts."
        Rfc7519 "4.1.1", Must Issuer Library ["claims.iss"] except UNNAMED => |d, cast| {
            let iss = d.text("iss");
            d.set("iss", json!([iss, cast.untrusted.url]));
        };
    "iss-is-the-service" "The issuer is the service itself, as of its own assertions."
        IdJag "9.3", Must Issuer Library ["claims.iss"] unless "accept-own-assertion" => |d, _| {
            let aud = d.text("aud");
            d.set("iss", aud);
        };

    "aud-of-another-service" "The audience is another service."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-any-audience" => |d, cast| {
            d.set("aud", &cast.others.audience);
        };
    "aud-of-the-resource" "The audience is the API and not the authorization server that guards it."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-resource-as-audience" or "accept-any-audience" or "accept-audience-prefix" => |d, _| {
            let (aud, resource) = (d.text("aud"), d.text("resource"));
            d.set("aud", if resource.is_empty() { format!("{aud}/api/") } else { resource });
        };
    "aud-with-a-foreign-one" "The audience is a list of the service and another one."
        IdJag "4.4.1", Must Audience Profile ["claims.aud"] unless "accept-audience-among-others" => |d, cast| {
            let aud = d.text("aud");
            d.set("aud", [&aud, &cast.others.audience]);
        };
    "aud-twice-in-a-list" "The audience is a list that names the service twice."
        IdJag "4.4.1", Should Audience Profile ["claims.aud"] unless "accept-audience-among-others" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", [&aud, &aud]);
        };
    "aud-in-an-empty-list" "The audience is an empty list."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-missing-audience" => |d, _| {
            d.set("aud", json!([]));
        };
    "aud-missing" "There is no audience."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-missing-audience" => |d, _| {
            d.claims.remove("aud");
        };
    "aud-with-a-slash" "The audience has a slash at its end that the service's name does not have, or lacks the one that it has."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-audience-with-slash" or "accept-any-audience" or "accept-audience-prefix" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", aud.strip_suffix('/').map_or_else(|| format!("{aud}/"), str::to_owned));
        };
    "aud-that-begins-alike" "The audience is another service, whose name begins with that of this one."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-audience-prefix" or "accept-any-audience" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", format!("{aud}.lab.invalid"));
        };
    "aud-in-capitals" "The audience is the service in capital letters."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "normalise-audience" or "accept-any-audience" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", aud.to_uppercase());
        };
    "aud-at-another-port" "The audience is at another port of the same host."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-any-port" or "accept-any-audience" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", at_another_port(&aud));
        };
    "aud-of-the-token-endpoint" "The audience is the service's token endpoint, as a client assertion's may be."
        IdJag "4.4.1", Must Audience Library ["claims.aud"] unless "accept-token-endpoint-as-audience" or "accept-any-audience" or "accept-audience-prefix" => |d, _| {
            let aud = d.text("aud");
            d.set("aud", format!("{}/oauth2/token", aud.trim_end_matches('/')));
        };

    "client-id-missing" "There is no client_id."
        IdJag "3.1", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, _| {
            d.claims.remove("client_id");
        };
    "client-id-in-a-list" "The client_id is in a list and not a text."
        IdJag "3.1", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, _| {
            let id = d.text("client_id");
            d.set("client_id", [id]);
        };
    "client-id-unknown" "The client_id is nobody's."
        AuthMd "CIMD resolution", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, _| {
            d.set("client_id", "lab-nobodys-client");
        };
    "client-id-of-another" "The client_id is another client's than the one that authenticated."
        IdJag "4.4.1", Must Client Service ["claims.client_id"]
        unless "ignore-authenticated-client" except UNAUTHENTICATED => |d, cast| {
            d.set("client_id", &cast.others.client_id);
        };
    "client-id-in-act" "The client that authenticated is only the actor, and client_id names another."
        IdJag "4.4.1", Must Client Service ["claims.act" "claims.client_id"]
        unless "ignore-authenticated-client" except UNAUTHENTICATED => |d, cast| {
            let id = d.text("client_id");
            d.set("act", json!({"sub": id}));
            d.set("client_id", &cast.others.client_id);
        };
    "client-id-of-a-stranger" "The client_id leads to the document of somebody else, who has other keys."
        AuthMd "CIMD resolution", Must Client Service ["claims.client_id"]
        unless "trust-client-id" or "ignore-jwks-uri-of-document" or "accept-any-issuer" => |d, cast| {
            d.set("client_id", format!("{}/agent-auth.json", cast.others.url));
        };
    "client-id-by-http" "The client_id is a URL that is not https, and not on this machine."
        Cimd "3", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, _| {
            d.set("client_id", "http://client.lab.invalid/agent-auth.json");
        };
    "client-id-with-a-fragment" "The client_id is a URL with a fragment."
        Cimd "3", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, cast| {
            d.set("client_id", format!("{}/agent-auth.json#x", cast.issuer.url));
        };
    "client-id-with-a-user" "The client_id is a URL with a user name."
        Cimd "3", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, cast| {
            d.set("client_id", cast.issuer.url.as_str().replace("://", "://user@") + "/agent-auth.json");
        };
    "client-id-with-dots" "The client_id is a URL with a path that leads upwards."
        Cimd "3", Must Client Profile ["claims.client_id"] unless "trust-client-id" => |d, cast| {
            d.set("client_id", format!("{}/x/../agent-auth.json", cast.issuer.url));
        };
}

/// The same host, and another port.
fn at_another_port(url: &str) -> String {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url[after..].find('/').map_or(url.len(), |at| after + at);
    let host = url[after..end].split(':').next().unwrap_or_default();
    let port = if url[after..end].ends_with(":8443") { 8444 } else { 8443 };
    format!("{}{host}:{port}{}", &url[..after], &url[end..])
}
