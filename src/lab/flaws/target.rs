//! Flaws of what an assertion is to give access to.

use serde_json::json;

use super::answer::{Answer, Dialect};

const DETAILS: Answer = Answer::Refuse { status: 400, codes: &["invalid_authorization_details", "invalid_grant"] };
const UNKNOWN_DETAILS: &[(Dialect, Answer)] = &[(Dialect::Plain, DETAILS)];
/// Each service decides what an agent may ask for.
const LESS: &[(Dialect, Answer)] = &[
    (Dialect::V01, Answer::Refuse { status: 400, codes: &["invalid_request"] }),
    (Dialect::Flat, Answer::Refuse { status: 400, codes: &["invalid_request"] }),
    (Dialect::Nested, Answer::Refuse { status: 400, codes: &["invalid_request"] }),
    (Dialect::Plain, Answer::Refuse { status: 400, codes: &["invalid_scope", "invalid_grant", "access_denied"] }),
];

flaws! { Assertion Token;
    "resource-of-another-service" "The resource is another service's."
        Ema "7.6.2", Must Target Profile ["claims.resource"] unless "ignore-resource" => |d, cast| {
            d.set("resource", &cast.others.resource);
        };
    "resource-with-a-foreign-one" "The resource is a list of the service's own and another service's."
        Ema "7.6.2", Must Target Profile ["claims.resource"] unless "ignore-resource" => |d, cast| {
            let own = own_resource(d);
            d.set("resource", [&own, &cast.others.resource]);
        };
    "resource-that-leads-upwards" "The resource begins with one of the service's and leads out of it by two dots."
        Rfc8707 "2", Must Target Profile ["claims.resource"] unless "accept-resource-prefix" or "ignore-resource" => |d, _| {
            let own = own_resource(d);
            d.set("resource", format!("{}/../admin", own.trim_end_matches('/')));
        };
    "resource-that-leads-upwards-encoded" "The same with the dots percent-encoded."
        Rfc8707 "2", Must Target Profile ["claims.resource"] unless "accept-resource-prefix" or "ignore-resource" => |d, _| {
            let own = own_resource(d);
            d.set("resource", format!("{}/%2e%2e/admin", own.trim_end_matches('/')));
        };
    "resource-with-a-fragment" "The resource has a fragment."
        Rfc8707 "2", Must Target Profile ["claims.resource"] unless "accept-resource-prefix" or "ignore-resource" => |d, _| {
            let own = own_resource(d);
            d.set("resource", format!("{own}#x"));
        };
    "resource-that-begins-alike" "The resource is another one, whose name begins with one of the service's."
        Rfc8707 "2", Must Target Profile ["claims.resource"] unless "accept-resource-prefix" or "ignore-resource" => |d, _| {
            let own = own_resource(d);
            d.set("resource", format!("{}-of-others/", own.trim_end_matches('/')));
        };
    "resource-relative" "The resource is a path and no URL."
        Rfc8707 "2", Must Target Profile ["claims.resource"] unless "ignore-resource" => |d, _| {
            d.set("resource", "/api/");
        };
    "scope-of-an-administrator" "The scope is an administrator's, which no agent should get."
        Ema "7.2.1", Policy Scope Profile ["claims.scope"] unless "grant-any-scope" except LESS => |d, cast| {
            d.set("scope", &cast.others.scope);
        };
    "scope-malformed" "The scope holds a character that no scope may."
        Rfc6749 "3.3", Must Scope Profile ["claims.scope"] unless "accept-any-scope-text" => |d, _| {
            d.set("scope", "api.read\u{7}\"");
        };
    "scope-in-a-list" "The scope is a list and not a text."
        Rfc6749 "3.3", Must Scope Profile ["claims.scope"] unless "accept-any-scope-text" => |d, _| {
            d.set("scope", json!(["api.read"]));
        };
    "authorization-details-unknown" "It asks for details of a type that nobody knows."
        Rfc9396 "5", Must Malformed Profile ["claims.authorization_details"]
        unless "ignore-authorization-details" except UNKNOWN_DETAILS => |d, _| {
            d.set("authorization_details", json!([{"type": "https://lab.invalid/unknown"}]));
        };
}

/// The resource that it is for; where there is none, one that would be the service's.
fn own_resource(draft: &super::Draft) -> String {
    let resource = draft.text("resource");
    if resource.is_empty() { format!("{}/api/", draft.text("aud").trim_end_matches('/')) } else { resource }
}
