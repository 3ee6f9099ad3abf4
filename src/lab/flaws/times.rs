//! Flaws of an assertion's times, and of the name that it may be used by once.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::Presented;
use crate::domain::time::Seconds;

/// Some say that it has expired, some that it cannot be read.
const NEVER: Answer = Answer::Refuse { status: 400, codes: &["invalid_request", "expired"] };
const NO_END: &[(Dialect, Answer)] = &[(Dialect::V01, NEVER), (Dialect::Flat, NEVER), (Dialect::Nested, NEVER)];

/// The draft lets an assertion be sent again until it expires (section 4.4.1); MCP Enterprise-Managed Authorization does not (section 7.4.2).
/// What speaks plain RFC 7523 may follow either.
const BY_PROFILE: &[(Dialect, Answer)] = &[(Dialect::Plain, Answer::Refuse { status: 400, codes: &["invalid_grant"] })];

flaws! { Assertion Token;
    "expired" "It was made a quarter of an hour ago and ended five minutes later."
        Rfc7523 "3", Must Expiry Library ["claims.exp" "claims.iat"] unless "accept-expired" => |d, cast| {
            d.set("iat", cast.now - Seconds(900));
            d.set("exp", cast.now - Seconds(600));
        };
    "exp-missing" "It never ends."
        Rfc7523 "3", Must Malformed Profile ["claims.exp"] unless "accept-missing-exp" except NO_END => |d, _| {
            d.claims.remove("exp");
        };
    "exp-in-text" "The time at which it ends is a text."
        Rfc7519 "4.1.4", Must Malformed Library ["claims.exp"] unless "accept-times-in-text" except NO_END => |d, _| {
            let exp = d.claims.get("exp").map(ToString::to_string);
            d.set("exp", exp);
        };
    "exp-with-a-fraction" "The time at which it ends has a fraction of a second, which JSON allows and many refuse."
        Rfc7519 "2", Policy Malformed Profile ["claims.exp"] unless "accept-fractions" except NO_END => |d, cast| {
            let exp = u32::try_from((cast.now + Seconds(300)).0).unwrap_or_default();
            d.set("exp", f64::from(exp) + 0.5);
        };
    "exp-an-hour-ahead" "It lives for an hour."
        IdJag "3.1", Should Malformed Profile ["claims.exp"] unless "accept-any-lifetime" => |d, cast| {
            d.set("exp", cast.now + Seconds(3600));
        };
    "exp-before-iat" "It ends before it was made, in the seconds that two clocks may differ by."
        Rfc7519 "4.1.4", Should Malformed Profile ["claims.exp" "claims.iat"]
        unless "accept-any-lifetime" => |d, cast| {
            d.set("iat", cast.now + Seconds(30));
            d.set("exp", cast.now + Seconds(20));
        };
    "times-in-milliseconds" "Its times are in milliseconds, and so thousands of years ahead."
        Rfc7519 "2", Must Malformed Profile ["claims.exp" "claims.iat"] unless "accept-future-iat" => |d, cast| {
            d.set("iat", cast.now.0 * 1000);
            d.set("exp", (cast.now.0 + 300) * 1000);
        };
    "iat-ahead" "It was made ten minutes from now."
        AuthMd "Clock skew", Must Malformed Profile ["claims.exp" "claims.iat"]
        unless "accept-future-iat" => |d, cast| {
            d.set("iat", cast.now + Seconds(600));
            d.set("exp", cast.now + Seconds(900));
        };
    "iat-missing" "It does not say when it was made."
        IdJag "3.1", Must Malformed Profile ["claims.iat"] unless "accept-missing-iat" => |d, _| {
            d.claims.remove("iat");
        };
    "iat-in-text" "The time at which it was made is a text."
        Rfc7519 "4.1.6", Must Malformed Profile ["claims.iat"] unless "accept-times-in-text" => |d, _| {
            let iat = d.claims.get("iat").map(ToString::to_string);
            d.set("iat", iat);
        };
    "nbf-ahead" "It is not to be taken for another ten minutes."
        Rfc7523 "3", Must Malformed Library ["claims.nbf"] unless "ignore-nbf" => |d, cast| {
            d.set("nbf", cast.now + Seconds(600));
        };

    "jti-replayed" "It is presented a second time."
        AuthMd "Replay protection", Must Replay Service ["request"] unless "no-jti-memory" except BY_PROFILE => |d, _| {
            d.presented = Presented::Again;
        };
    "jti-replayed-after-restart" "It is presented a second time, after the service was started anew."
        AuthMd "Replay protection", Must Replay Service ["request"]
        unless "forget-jtis-at-restart" or "no-jti-memory" except BY_PROFILE => |d, _| {
            d.presented = Presented::AgainAfterRestart;
        };
    "jti-missing" "It has no name that it could be known by the second time."
        IdJag "3.1", Must Malformed Profile ["claims.jti"] unless "accept-missing-jti" => |d, _| {
            d.claims.remove("jti");
        };
    "jti-empty" "Its name is empty."
        IdJag "3.1", Must Malformed Profile ["claims.jti"] unless "accept-missing-jti" => |d, _| {
            d.set("jti", "");
        };
    "jti-in-a-list" "Its name is in a list and not a text."
        Rfc7519 "4.1.7", Must Malformed Profile ["claims.jti"] unless "accept-missing-jti" => |d, _| {
            let jti = d.text("jti");
            d.set("jti", json!([jti]));
        };
    "jti-with-a-control-character" "Its name contains a NUL, which some databases cannot keep."
        Rfc7519 "4.1.7", Should Malformed Profile ["claims.jti"] unless "accept-control-characters" => |d, _| {
            let jti = d.text("jti");
            d.set("jti", format!("{jti}\0"));
        };
}
