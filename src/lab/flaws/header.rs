//! Flaws of an assertion's header.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::{SECEVENT, Signer};
use crate::domain::claims::LOGOUT;
use crate::domain::rotation::SigningAlg;

/// RFC 7515 section 5.2 leaves open whether what it does not allow is malformed or badly signed.
const EITHER: Answer = Answer::Refuse { status: 400, codes: &["invalid_request", "invalid_signature"] };
pub(super) const UNREADABLE: &[(Dialect, Answer)] =
    &[(Dialect::V01, EITHER), (Dialect::Flat, EITHER), (Dialect::Nested, EITHER)];

flaws! { Assertion Token;
    "typ-missing" "The header does not say what kind of token it is."
        IdJag "4.4.1", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.header.remove("typ");
        };
    "typ-jwt" "The type is JWT, as of any token."
        IdJag "4.4.1", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", "JWT");
        };
    "typ-access-token" "The type is that of an access token, at+jwt."
        IdJag "4.4.1", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", "at+jwt");
        };
    "typ-secevent" "The type is that of a security event token."
        IdJag "4.4.1", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", SECEVENT);
        };
    "typ-logout" "The type is that of a logout token."
        IdJag "4.4.1", Must Type Library ["header.typ"] unless "accept-any-typ" => |d, _| {
            d.head("typ", LOGOUT);
        };
    "typ-in-a-list" "The type is a list and not a text."
        Rfc7515 "4.1.9", Must Malformed Library ["header.typ"] except UNREADABLE => |d, _| {
            let typ = d.header.remove("typ");
            d.head("typ", json!([typ]));
        };
    "alg-none" "It is not signed, and says so with the algorithm none."
        Rfc8725 "3.1", Must Signature Library ["header.alg" "key"] unless "accept-alg-none" => |d, _| {
            d.head("alg", "none");
            d.signer = Signer::Nobody;
        };
    "alg-none-misspelt" "It is not signed, and says so in another spelling, nOnE."
        Rfc8725 "3.1", Must Signature Library ["header.alg" "key"] unless "accept-alg-none" => |d, _| {
            d.head("alg", "nOnE");
            d.signer = Signer::Nobody;
        };
    "alg-hs256-by-public-key" "The algorithm is HS256, and the secret is the issuer's public key in PEM."
        Rfc8725 "3.1", Must Signature Library ["header.alg" "key"] unless "accept-alg-of-header" => |d, _| {
            d.head("alg", "HS256");
            d.signer = Signer::PublicKey;
        };
    "alg-es384" "The algorithm is ES384, which the key that signed does not have."
        Rfc8725 "3.1", Must Signature Library ["header.alg"] unless "ignore-alg" => |d, _| {
            d.head("alg", "ES384");
        };
    "alg-of-another-kind-of-key" "The algorithm is one of another kind of key."
        Rfc8725 "3.1", Must Signature Library ["header.alg"] unless "ignore-alg" => |d, _| {
            let own = d.signer == Signer::Own(SigningAlg::Es256);
            d.head("alg", if own { "RS256" } else { "ES256" });
        };
    "alg-missing" "The header names no algorithm."
        Rfc7515 "4.1.1", Must Malformed Library ["header.alg"] unless "ignore-alg" except UNREADABLE => |d, _| {
            d.header.remove("alg");
        };
    "kid-unknown" "The issuer has no key of the name that the header says, although one of its keys signed."
        AuthMd "Verifying ID-JAGs", Must Signature Library ["header.kid"] unless "ignore-kid" => |d, _| {
            d.head("kid", "lab-no-key-of-this-name");
        };
    "kid-missing" "The header names no key, and the issuer has several of the kind."
        AuthMd "Verifying ID-JAGs", Should Signature Library ["header.kid"] unless "ignore-kid" => |d, _| {
            d.header.remove("kid");
        };
    "kid-of-another-key" "The header names another key of the issuer's than the one that signed."
        Rfc7515 "5.2", Must Signature Library ["header.kid"] unless "ignore-kid" => |d, cast| {
            d.head("kid", cast.issuer.next.kid());
        };
    "kid-of-a-file" "The name of the key is a path to a file."
        Rfc8725 "3.10", Must Signature Library ["header.kid"] unless "ignore-kid" => |d, _| {
            d.head("kid", "../../../../../../dev/null");
        };
    "kid-with-sql" "The name of the key is a piece of SQL."
        Rfc8725 "3.10", Must Signature Library ["header.kid"] unless "ignore-kid" => |d, _| {
            d.head("kid", "x' OR '1'='1");
        };
    "jwk-embedded" "The header brings along the key that signed, which is nobody's."
        Rfc8725 "3.10", Must Signature Library ["header.jwk" "key"] unless "accept-key-of-header" => |d, cast| {
            let mut jwk = cast.issuer.stranger.public_jwk();
            jwk["kid"] = json!(d.header.get("kid"));
            d.head("jwk", jwk);
            d.signer = Signer::Stranger;
        };
    "jku-of-a-forger" "The header says where the key is that signed: at a forger's."
        Rfc8725 "3.10", Must Signature Library ["header.jku" "key"] unless "accept-key-of-header" => |d, cast| {
            d.head("jku", format!("{}/jwks.json", cast.others.url));
            d.signer = Signer::Stranger;
        };
    "x5u-of-a-forger" "The header says where the certificate is: at a forger's."
        Rfc8725 "3.10", Must Signature Library ["header.x5u" "key"] => |d, cast| {
            d.head("x5u", format!("{}/chain.pem", cast.others.url));
            d.signer = Signer::Stranger;
        };
    "crit-unknown" "The header demands an extension that nobody has."
        Rfc7515 "4.1.11", Must Malformed Library ["header.crit" "header.lab-extension"]
        unless "ignore-crit" except UNREADABLE => |d, _| {
            d.head("crit", ["lab-extension"]);
            d.head("lab-extension", true);
        };
    "crit-empty" "The header demands a list of extensions that is empty."
        Rfc7515 "4.1.11", Should Malformed Library ["header.crit"] unless "ignore-crit" except UNREADABLE => |d, _| {
            d.head("crit", json!([]));
        };
    "b64-false" "The header says that the claims are not encoded, as those of no JWT may be."
        Rfc7797 "7", Must Malformed Library ["header.b64" "header.crit"]
        unless "ignore-crit" except UNREADABLE => |d, _| {
            d.head("crit", ["b64"]);
            d.head("b64", false);
        };
}
