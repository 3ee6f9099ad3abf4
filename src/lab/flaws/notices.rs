//! Flaws of a notice, and of how it is sent.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::{Presented, SECEVENT, Shape, Signer};
use crate::domain::claims::{ID_JAG, LOGOUT, REVOKED_EVENT};
use crate::domain::time::Seconds;

/// A security event token that comes again is acknowledged as the first time (RFC 8935 section 2), although auth.md's own service refuses it.
const ACKNOWLEDGED: Answer = Answer::Accept { status: 202 };
const TWICE: &[(Dialect, Answer)] = &[(Dialect::Flat, ACKNOWLEDGED), (Dialect::Nested, ACKNOWLEDGED)];

flaws! { Notice Token;
    "notice-typ-missing" "The header does not say that it is a notice."
        Rfc8417 "2.3", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.header.remove("typ");
        };
    "notice-typ-of-an-assertion" "The type is that of an assertion."
        Rfc8725 "3.11", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", ID_JAG);
        };
    "notice-of-the-other-format" "It is a logout token where security event tokens are taken, or the other way round."
        AuthMd "Revocation", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            let other = if d.header.get("typ") == Some(&json!(LOGOUT)) { SECEVENT } else { LOGOUT };
            d.head("typ", other);
        };
    "notice-unsigned" "It is not signed, and says so with the algorithm none."
        Rfc8725 "3.1", Must Signature Library ["header.alg" "key"] unless "accept-alg-none" => |d, _| {
            d.head("alg", "none");
            d.signer = Signer::Nobody;
        };
    "notice-signed-by-a-stranger" "Another key signed than the one that the header names."
        Rfc7515 "5.2", Must Signature Library ["key"] unless "ignore-signature" => |d, _| {
            d.signer = Signer::Stranger;
        };
    "notice-signed-by-a-removed-key" "A key signed that the issuer publishes no more, under its own name."
        Rfc7517 "4.5", Must Signature Library ["header.kid" "key"] unless "never-refetch-jwks" or "ignore-kid" => |d, cast| {
            d.head("kid", cast.issuer.removed.kid());
            d.signer = Signer::Removed;
        };
    "notice-kid-unknown" "The issuer has no key of the name that the header says."
        Rfc8935 "2.4", Must Signature Library ["header.kid"] unless "ignore-kid" => |d, _| {
            d.head("kid", "lab-no-key-of-this-name");
        };
    "notice-crit-unknown" "The header demands an extension that nobody has."
        Rfc7515 "4.1.11", Must Malformed Library ["header.crit" "header.lab-extension"]
        unless "ignore-crit" => |d, _| {
            d.head("crit", ["lab-extension"]);
            d.head("lab-extension", true);
        };
    "notice-sub-twice" "There are two claims sub, of which the first names another user."
        Rfc7519 "4", Should Malformed Profile ["token"] unless "accept-repeated-members" => |d, cast| {
            d.shape = Shape::ClaimTwice("sub", json!(cast.others.sub));
        };
    "notice-too-long" "It is longer than 16 KiB, which nobody needs."
        Rfc9110 "17.5", Should Malformed Profile ["claims.padding"] unless "accept-any-length" => |d, _| {
            d.set("padding", "x".repeat(17 * 1024));
        };

    "notice-iss-untrusted" "The issuer is one that the service does not trust; its keys are published, and one of them signed."
        Rfc8935 "2.4", Must Issuer Library ["claims.iss" "header.kid" "key"] unless "accept-any-issuer" => |d, cast| {
            d.set("iss", &cast.untrusted.url);
            d.head("kid", cast.untrusted.key.kid());
            d.signer = Signer::Untrusted;
        };
    "notice-iss-missing" "There is no issuer."
        Rfc8417 "2.2", Must Issuer Library ["claims.iss"] => |d, _| {
            d.claims.remove("iss");
        };
    "notice-aud-of-another-service" "The audience is another service."
        Rfc8935 "2.4", Must Audience Library ["claims.aud"] unless "accept-any-audience" => |d, cast| {
            d.set("aud", &cast.others.audience);
        };
    "notice-aud-missing" "There is no audience."
        AuthMd "Revocation", Must Audience Library ["claims.aud"] unless "accept-missing-audience" => |d, _| {
            d.claims.remove("aud");
        };
    "notice-sub-missing" "It does not say of whom it speaks."
        AuthMd "Revocation", Must Malformed Profile ["claims.sub"] unless "accept-missing-sub" => |d, _| {
            d.claims.remove("sub");
        };
    "notice-sub-of-another-user" "It speaks of another user: it is acknowledged, and nothing of this one ends."
        AuthMd "Revocation", Must Tolerated Service ["claims.sub"] unless "revoke-every-user" => |d, cast| {
            d.set("sub", &cast.others.sub);
        };

    "notice-jti-missing" "It has no name that it could be known by the second time."
        Rfc8417 "2.2", Must Malformed Profile ["claims.jti"] unless "accept-missing-jti" => |d, _| {
            d.claims.remove("jti");
        };
    "notice-jti-replayed" "It is sent a second time."
        Rfc8935 "2", Should Replay Service ["request"] unless "no-jti-memory" except TWICE => |d, _| {
            d.presented = Presented::Again;
        };
    "notice-iat-missing" "It does not say when it was made."
        Rfc8417 "2.2", Must Malformed Profile ["claims.iat"] unless "accept-missing-iat" => |d, _| {
            d.claims.remove("iat");
        };
    "notice-iat-ahead" "It was made ten minutes from now."
        Rfc7519 "4.1.6", Should Malformed Profile ["claims.exp" "claims.iat"]
        unless "accept-future-iat" => |d, cast| {
            d.set("iat", cast.now + Seconds(600));
            d.set("exp", cast.now + Seconds(720));
        };
    "notice-expired" "It ended ten minutes ago."
        BackChannel "2.6", Must Malformed Library ["claims.exp" "claims.iat"] unless "accept-expired" => |d, cast| {
            d.set("iat", cast.now - Seconds(720));
            d.set("exp", cast.now - Seconds(600));
        };

    "notice-events-missing" "It says nothing of what happened."
        Rfc8417 "2.2", Must Malformed Profile ["claims.events"] unless "ignore-events" => |d, _| {
            d.claims.remove("events");
        };
    "notice-events-in-a-list" "What happened is in a list and not in an object."
        Rfc8417 "2.2", Must Malformed Profile ["claims.events"] unless "ignore-events" => |d, _| {
            d.set("events", [REVOKED_EVENT]);
        };
    "notice-event-without-object" "What happened has null where an object belongs."
        Rfc8417 "2.2", Must Malformed Profile ["claims.events"] unless "ignore-events" => |d, _| {
            d.set("events", json!({REVOKED_EVENT: null}));
        };
    "notice-event-unknown" "What happened is something else: it is acknowledged, and nothing ends."
        AuthMd "Revocation", Must Tolerated Service ["claims.events"] unless "ignore-events" except V01 => |d, _| {
            d.set("events", json!({"https://lab.invalid/events/unknown": {}}));
        };
    "notice-with-a-nonce" "It has a nonce, which would let it pass for an ID token."
        BackChannel "2.4", Must Malformed Profile ["claims.nonce"]
        unless "accept-claims-of-other-tokens" => |d, _| {
            d.set("nonce", "lab-nonce");
        };
    "notice-as-text" "It is sent as plain text."
        Rfc8935 "2", Must Malformed Service ["request"] unless "accept-any-content-type" => |d, _| {
            d.presented = Presented::As("text/plain");
        };
    "notice-as-a-form" "It is sent as if it were a form."
        Rfc8935 "2", Must Malformed Service ["request"] unless "accept-any-content-type" => |d, _| {
            d.presented = Presented::As("application/x-www-form-urlencoded");
        };
}

/// v0.1 knows one event and says nothing of others, so that one may refuse them as well as pass over them.
const V01: &[(Dialect, Answer)] = &[(Dialect::V01, Answer::Open)];
