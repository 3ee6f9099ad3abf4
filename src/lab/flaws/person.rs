//! Flaws of what an assertion says of its user.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::Others;
use crate::domain::time::Seconds;

/// v0.1 asks for no time of sign-in; where there is one it has to be right.
const NOT_ASKED: &[(Dialect, Answer)] = &[(Dialect::V01, Answer::Accept { status: 200 })];
/// Nor how old it may be.
const NOT_JUDGED: &[(Dialect, Answer)] = &[(Dialect::V01, Answer::Open)];
/// A contact is what auth.md knows a user by; others know them by `sub`.
const BY_SUB: &[(Dialect, Answer)] = &[(Dialect::Plain, Answer::Open)];
/// Services of auth.md make an account for whoever is new, and others decide by themselves.
const NEW: &[(Dialect, Answer)] = &[
    (Dialect::V01, Answer::Open),
    (Dialect::Flat, Answer::Open),
    (Dialect::Nested, Answer::Open),
    (Dialect::Plain, Answer::Refuse { status: 400, codes: &["access_denied", "invalid_grant"] }),
];

flaws! { Assertion Token;
    "identity-missing" "Nothing says who the user is, nor what the token is called: no sub, no e-mail address, no jti."
        IdJag "3.1", Must Malformed Profile
        ["claims.email" "claims.email_verified" "claims.jti" "claims.sub"] => |d, _| {
            for claim in ["sub", "jti", "email", "email_verified"] {
                d.claims.remove(claim);
            }
        };
    "sub-missing" "Nothing says who the user is at the issuer."
        IdJag "3.1", Must Malformed Profile ["claims.sub"] unless "accept-missing-sub" => |d, _| {
            d.claims.remove("sub");
        };
    "sub-empty" "The user is an empty text."
        IdJag "3.1", Must Malformed Profile ["claims.sub"] unless "accept-missing-sub" => |d, _| {
            d.set("sub", "");
        };
    "sub-a-number" "The user is a number and not a text."
        Rfc7519 "4.1.2", Must Malformed Profile ["claims.sub"] unless "accept-missing-sub" => |d, _| {
            d.set("sub", 7);
        };
    "sub-too-long" "The user has a name of 256 letters."
        OpenId "2", Should Malformed Profile ["claims.sub"] unless "accept-any-sub" => |d, _| {
            d.set("sub", "u".repeat(256));
        };
    "sub-not-ascii" "The user has a name with letters that are not ASCII."
        OpenId "2", Should Malformed Profile ["claims.sub"] unless "accept-any-sub" => |d, _| {
            let sub = d.text("sub");
            d.set("sub", format!("{sub}-ü"));
        };
    "sub-with-a-control-character" "The user has a name with a NUL, which some databases cannot keep."
        OpenId "2", Should Malformed Profile ["claims.sub"] unless "accept-control-characters" => |d, _| {
            let sub = d.text("sub");
            d.set("sub", format!("{sub}\0"));
        };
    "sub-unknown" "The user is one that the service has never heard of, address and all."
        IdJag "4.4.1", Policy Access Service ["claims.email" "claims.sub"]
        unless "make-accounts-for-anybody" except NEW => |d, cast| {
            let Others { sub, email, .. } = &cast.others;
            d.set("sub", sub);
            d.set("email", email);
        };
    "sub-new-with-known-email" "A user whom the service has never seen has the address of an account that is there."
        AuthMd "User matching and JIT provisioning", Must Interaction Service ["claims.sub"]
        unless "link-silently-by-email" => |d, cast| {
            d.set("sub", &cast.others.sub);
        };

    "email-unverified" "The issuer has not verified the address."
        AuthMd "Verifying ID-JAGs", Must Contact Profile ["claims.email_verified"]
        unless "accept-unverified-contact" or "accept-missing-contact" => |d, _| {
            d.set("email_verified", false);
        };
    "email-verified-in-text" "That the address is verified is a text, and not true."
        OpenId "5.1", Must Contact Profile ["claims.email_verified"] unless "accept-unverified-contact" or "accept-missing-contact" => |d, _| {
            d.set("email_verified", "true");
        };
    "email-verified-missing" "Nothing says whether the address is verified."
        AuthMd "Verifying ID-JAGs", Must Contact Profile ["claims.email_verified"]
        unless "accept-unverified-contact" or "accept-missing-contact" => |d, _| {
            d.claims.remove("email_verified");
        };
    "contact-missing" "There is neither an address nor a phone number."
        AuthMd "Verifying ID-JAGs", Must Contact Profile ["claims.email" "claims.email_verified"]
        unless "accept-missing-contact" => |d, _| {
            d.claims.remove("email");
            d.claims.remove("email_verified");
        };
    "email-without-at" "The address is none."
        OpenId "5.1", Should Contact Profile ["claims.email"] unless "accept-any-contact" => |d, _| {
            d.set("email", "nobody");
        };
    "phone-malformed" "The phone number that the issuer says it has verified is none."
        OpenId "5.1", Should Malformed Profile ["claims.phone_number" "claims.phone_number_verified"]
        unless "accept-any-contact" except BY_SUB => |d, _| {
            d.set("phone_number", "call me");
            d.set("phone_number_verified", true);
        };
    "name-a-number" "The user's name to show is a number."
        OpenId "5.1", Should Malformed Profile ["claims.name"] unless "accept-any-type-of-claim" => |d, _| {
            d.set("name", 7);
        };
    "amr-in-text" "How the user signed in is a text and not a list."
        OpenId "2", Should Malformed Profile ["claims.amr"] unless "accept-any-type-of-claim" => |d, _| {
            d.set("amr", "pwd");
        };

    "auth-time-missing" "Nothing says when the user signed in."
        AuthMd "ID-JAG claims", Must Authentication Profile ["claims.auth_time"]
        unless "ignore-auth-time" except NOT_ASKED => |d, _| {
            d.claims.remove("auth_time");
        };
    "auth-time-stale" "The user signed in two hours ago."
        AuthMd "Verifying ID-JAGs", Must Authentication Profile ["claims.auth_time"]
        unless "ignore-auth-time" except NOT_JUDGED => |d, cast| {
            d.set("auth_time", cast.now - Seconds(7200));
        };
    "auth-time-ahead" "The user signs in ten minutes from now."
        OpenId "2", Should Authentication Profile ["claims.auth_time"]
        unless "ignore-auth-time" => |d, cast| {
            d.set("auth_time", cast.now + Seconds(600));
        };
    "auth-time-in-text" "The time at which the user signed in is a text."
        OpenId "2", Must Authentication Profile ["claims.auth_time"] unless "ignore-auth-time" or "accept-times-in-text" => |d, _| {
            let at = d.claims.get("auth_time").map(ToString::to_string);
            d.set("auth_time", at);
        };
    "auth-time-zero" "The user signed in in 1970."
        OpenId "2", Should Authentication Profile ["claims.auth_time"] unless "ignore-auth-time" => |d, _| {
            d.set("auth_time", json!(0));
        };
    "auth-time-after-iat" "The user signed in after the assertion was made."
        OpenId "2", Should Authentication Profile ["claims.auth_time"] unless "ignore-auth-time" => |d, cast| {
            d.set("auth_time", cast.now + Seconds(30));
        };
}
