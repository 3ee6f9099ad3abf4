//! Flaws of an issuer's key set: what a service answers to an assertion that has no flaw itself.

use serde_json::{Value, json};

use super::document::{Document, Response};

flaws! { Jwks Document;
    "jwks-not-found" "The key set is not there."
        Rfc9110 "15.5.5", Must Unavailable Service ["response"]
        unless "accept-documents-of-failures" => |d, _| d.response = Response::Status(404);
    "jwks-fails" "The key set's server fails, with the key set in the body of its 500."
        Rfc9110 "15.6", Must Unavailable Service ["response"]
        unless "accept-documents-of-failures" => |d, _| {
            d.response = Response::Status(500);
        };
    "jwks-redirects" "The key set is said to be elsewhere."
        Rfc8725 "3.10", Should Unavailable Service ["response"] unless "follow-jwks-redirects" => |d, _| {
            d.response = Response::Redirect;
        };
    "jwks-slow" "The key set comes after three seconds."
        Rfc9112 "9.5", Should Tolerated Service ["response"] => |d, _| d.response = Response::Slow(3);
    "jwks-hangs" "The key set does not come within two minutes."
        Rfc9112 "9.5", Should Unavailable Service ["response"] unless "wait-for-ever" => |d, _| {
            d.response = Response::Slow(120);
        };
    "jwks-drips" "The key set comes at one byte a second."
        Rfc9112 "9.5", Should Unavailable Service ["response"] unless "wait-for-ever" => |d, _| {
            d.response = Response::Drip;
        };
    "jwks-huge" "The key set is followed by eight megabytes of white space."
        Rfc9110 "17.5", Should Unavailable Service ["response"] unless "read-without-bounds" => |d, _| {
            d.response = Response::Huge(8192);
        };
    "jwks-truncated" "The key set breaks off in the middle."
        Rfc7517 "5", Must Unavailable Library ["response"] => |d, _| d.response = Response::Truncated;
    "jwks-in-html" "A page to sign in comes in the place of the key set."
        Rfc7517 "5", Must Unavailable Library ["response"] => |d, _| d.response = Response::Html;
    "jwks-stale" "The key set is the one of before the last change, although the new key signs already."
        Rfc7517 "4.5", Must Signature Library ["response"] => |d, _| d.response = Response::Stale;
    "jwks-empty" "The key set holds no key."
        Rfc7517 "5.1", Must Signature Library ["members.keys"] => |d, _| d.set("keys", json!([]));
    "jwks-without-keys" "The key set has no list of keys."
        Rfc7517 "5.1", Must Signature Library ["members.keys"] => |d, _| {
            d.members.remove("keys");
        };
    "jwks-without-the-key" "The key that signed is not in the key set."
        Rfc7517 "4.5", Must Signature Library ["members.keys"] unless "never-refetch-jwks" => |d, _| {
            with_keys(d, |keys| {
                keys.remove(0);
            });
        };
    "jwks-kid-twice" "Two keys of the set have one name, and only the second one signs."
        Rfc7517 "4.5", Should Signature Library ["members.keys"]
        unless "accept-first-key-of-a-name" or "ignore-kid" => |d, cast| {
            let mut other = cast.issuer.stranger.public_jwk();
            other["kid"] = json!(cast.issuer.key.kid());
            with_keys(d, |keys| keys.insert(0, other));
        };
    "jwks-kty-unknown" "One key of the set is of a kind that nobody knows; the others are good, and are to be used."
        Rfc7517 "5", Should Tolerated Service ["members.keys"]
        unless "refuse-sets-with-unknown-keys" => |d, _| {
            let new = json!({"kty": "LAB", "kid": "lab-of-an-unknown-kind", "alg": "LAB-1", "x": "AA"});
            with_keys(d, |keys| keys.insert(0, new));
        };
    "jwks-with-a-shared-secret" "One key of the set is symmetric; the others are good, and are to be used."
        Rfc7517 "5", Should Tolerated Service ["members.keys"]
        unless "refuse-sets-with-unknown-keys" => |d, _| {
            let secret = json!({"kty": "oct", "kid": "lab-shared", "alg": "HS256", "k": "bGFi"});
            with_keys(d, |keys| keys.insert(0, secret));
        };
    "jwks-with-a-private-key" "The key that signs is published with its private part."
        Rfc7517 "9.2", Should Signature Library ["members.keys"]
        unless "accept-published-private-keys" or "ignore-signature" => |d, cast| {
            let private = cast.issuer.key.to_jwk().ok().and_then(|jwk| serde_json::from_str::<Value>(&jwk).ok());
            with_keys(d, |keys| keys[0] = private.unwrap_or_default());
        };
    "jwks-key-for-encryption" "The key that signs is published for encryption only."
        Rfc7517 "4.2", Should Signature Library ["members.keys"]
        unless "ignore-key-use" or "ignore-signature" => |d, _| {
            change(d, "use", json!("enc"));
        };
    "jwks-key-for-signing-only" "The operations of the key do not include verifying."
        Rfc7517 "4.3", Should Signature Library ["members.keys"]
        unless "ignore-key-use" or "ignore-signature" => |d, _| {
            change(d, "key_ops", json!(["sign"]));
        };
    "jwks-key-of-another-alg" "The key that signs is published for another algorithm."
        Rfc7517 "4.4", Must Signature Library ["members.keys"]
        unless "ignore-key-use" or "ignore-signature" => |d, _| {
            change(d, "alg", json!("ES512"));
        };
    "jwks-key-off-the-curve" "The key that signs is published as a point that is not on its curve."
        Rfc7518 "6.2.1", Must Signature Library ["members.keys"] unless "ignore-signature" => |d, _| {
            let x = d.key(0).and_then(|key| key.get("x").cloned());
            change(d, "y", x.unwrap_or_default());
        };
    "jwks-key-of-a-weak-size" "The key that signs is published as an RSA key of 1024 bits."
        Rfc7518 "3.3", Must Signature Library ["members.keys"] unless "ignore-signature" => |d, cast| {
            let weak = json!({"kty": "RSA", "kid": cast.issuer.key.kid(), "e": "AQAB", "n": format!("_{}w", "_".repeat(169))});
            with_keys(d, |keys| keys[0] = weak);
        };
    "jwks-thousands-of-keys" "The key set holds two thousand keys before the good one."
        Rfc9110 "17.5", Should Unavailable Service ["members.keys"]
        unless "read-without-bounds" => |d, cast| {
            let other = |n: usize| {
                let mut jwk = cast.issuer.stranger.public_jwk();
                jwk["kid"] = json!(format!("lab-{n}"));
                jwk
            };
            with_keys(d, |keys| drop(keys.splice(0..0, (0..2000).map(other))));
        };
}

fn with_keys(document: &mut Document, change: impl FnOnce(&mut Vec<Value>)) {
    if let Some(keys) = document.keys() {
        change(keys);
    }
}

/// Gives the key that signs another member.
fn change(document: &mut Document, member: &str, value: Value) {
    if let Some(key) = document.key(0) {
        key.insert(member.to_owned(), value);
    }
}
