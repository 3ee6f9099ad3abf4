//! The good ones: each is the plain one with one change, as the flawed ones are.

use crate::domain::time::Seconds;
use crate::lab::flaws::{Cast, Dialect, Draft, Signer};

/// What is good about a good one, the change that makes it special, and the dialects that take it.
pub(super) type Good = (&'static str, &'static str, fn(&mut Draft, &Cast), &'static [Dialect]);

/// Those with documents of clients.
pub(super) const AUTH_MD: &[Dialect] = &[Dialect::V01, Dialect::Flat, Dialect::Nested];

/// All of them.
pub(super) const GOOD: &[Good] = &[
    ("good", "Nothing is wrong with it.", |_, _| {}, &Dialect::ALL),
    (
        "good-aud-in-a-list",
        "The audience is a list of one.",
        |d, _| {
            let aud = d.text("aud");
            d.set("aud", [aud]);
        },
        &Dialect::ALL,
    ),
    (
        "good-without-scope-and-resource",
        "It asks for nothing in particular.",
        |d, _| {
            d.claims.remove("scope");
            d.claims.remove("resource");
        },
        &Dialect::ALL,
    ),
    (
        "good-signed-by-the-next-key",
        "The key signed that follows, and is published.",
        |d, cast| {
            d.head("kid", cast.issuer.next.kid());
            d.signer = Signer::Next;
        },
        &Dialect::ALL,
    ),
    (
        "good-signed-in-just-now",
        "The user signed in this second.",
        |d, cast| d.set("auth_time", cast.now),
        &Dialect::ALL,
    ),
    (
        "good-in-its-last-minute",
        "It was made four minutes ago.",
        |d, cast| {
            d.set("iat", cast.now - Seconds(240));
            d.set("exp", cast.now + Seconds(60));
        },
        &Dialect::ALL,
    ),
    (
        "good-with-a-phone-number",
        "The user has a verified phone number and no address.",
        |d, _| {
            d.claims.remove("email");
            d.claims.remove("email_verified");
            d.set("phone_number", "+15550100");
            d.set("phone_number_verified", true);
        },
        AUTH_MD,
    ),
    (
        "good-client-is-the-issuer",
        "The client_id is the issuer.",
        |d, cast| d.set("client_id", &cast.issuer.url),
        AUTH_MD,
    ),
    (
        "good-with-a-claim-that-nobody-knows",
        "A claim is there that nobody knows, and is ignored.",
        |d, _| {
            d.set("https://lab.invalid/unknown", true);
        },
        &Dialect::ALL,
    ),
];
