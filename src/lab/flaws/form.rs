//! Flaws of an assertion's form, and of the kind of token that it is.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::{Presented, SECEVENT, Shape};
use super::header::UNREADABLE;
use crate::domain::claims::{ID_TOKEN, LOGOUT, REVOKED_EVENT};

/// No claims, no issuer: whoever looks for that first says so.
const NOBODY: Answer =
    Answer::Refuse { status: 400, codes: &["invalid_request", "invalid_issuer", "invalid_signature"] };
const UNKNOWN: &[(Dialect, Answer)] = &[(Dialect::V01, NOBODY), (Dialect::Flat, NOBODY), (Dialect::Nested, NOBODY)];

/// The service's own token endpoint takes only what the service signed; a plain one is the place to go, and v0.1 has none.
const OWN: Answer = Answer::Refuse { status: 400, codes: &["invalid_grant"] };
const NOT_HERE: &[(Dialect, Answer)] = &[
    (Dialect::V01, Answer::Open),
    (Dialect::Flat, OWN),
    (Dialect::Nested, OWN),
    (Dialect::Plain, Answer::Accept { status: 200 }),
];

flaws! { Assertion Token;
    "alg-twice" "The header has two members alg, of which the first says none."
        Rfc7515 "4", Should Malformed Profile ["token"] unless "accept-repeated-members" except UNREADABLE => |d, _| {
            d.shape = Shape::HeaderTwice("alg", json!("none"));
        };
    "sub-twice" "There are two claims sub, of which the first names another user."
        Rfc7519 "4", Should Malformed Profile ["token"] unless "accept-repeated-members" => |d, cast| {
            d.shape = Shape::ClaimTwice("sub", json!(cast.others.sub));
        };
    "aud-twice" "There are two claims aud, of which the first names another service."
        Rfc7519 "4", Should Malformed Profile ["token"] unless "accept-repeated-members" => |d, cast| {
            d.shape = Shape::ClaimTwice("aud", json!(cast.others.audience));
        };
    "claims-in-a-list" "The claims are in a list and not in an object."
        Rfc7519 "7.2", Must Malformed Library ["token"] except UNKNOWN => |d, _| {
            d.shape = Shape::Listed;
        };
    "encrypted" "It is in five parts, as of an encrypted token, and nobody can decrypt it."
        Rfc7519 "7.2", Must Malformed Library ["token"] => |d, _| {
            d.shape = Shape::Encrypted;
        };
    "too-long" "It is longer than 16 KiB, which nobody needs."
        Rfc9110 "17.5", Should Malformed Profile ["claims.padding"] unless "accept-any-length" => |d, _| {
            d.set("padding", "x".repeat(17 * 1024));
        };
    "id-token" "It is an ID token for this service, with the claims of one."
        IdJag "4.4.1", Must Type Library ["claims.nonce" "claims.sid" "header.typ"]
        unless "accept-any-typ" => |d, _| {
            d.head("typ", ID_TOKEN);
            d.set("nonce", "lab-nonce");
            d.set("sid", "lab-session");
        };
    "logout-token" "It is a logout token, with the claims of one."
        IdJag "4.4.1", Must Type Library ["claims.events" "header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", LOGOUT);
            d.set("events", json!({REVOKED_EVENT: {}}));
        };
    "security-event-token" "It is a security event token, with the claims of one."
        IdJag "4.4.1", Must Type Library ["claims.events" "header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", SECEVENT);
            d.set("events", json!({REVOKED_EVENT: {}}));
        };
    "nonce-present" "It has a nonce, as an ID token has."
        Rfc8725 "3.12", Should Malformed Profile ["claims.nonce"] unless "accept-claims-of-other-tokens" => |d, _| {
            d.set("nonce", "lab-nonce");
        };
    "events-present" "It has events, as a notice has."
        Rfc8725 "3.12", Should Malformed Profile ["claims.events"] unless "accept-claims-of-other-tokens" => |d, _| {
            d.set("events", json!({REVOKED_EVENT: {}}));
        };
    "as-a-credential" "The assertion is sent to the API as if it were an access token."
        Rfc6750 "3.1", Must Bearer Service ["request"] unless "accept-assertion-as-credential" => |d, _| {
            d.presented = Presented::AsBearer;
        };
    "at-the-token-endpoint" "The provider's assertion is sent where the service's own assertions go."
        AuthMd "Token endpoint", Must Issuer Service ["request"]
        unless "accept-foreign-assertion-at-token-endpoint" except NOT_HERE => |d, _| {
            d.presented = Presented::AtTokenEndpoint;
        };
}
