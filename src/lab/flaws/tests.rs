use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::claims::LOGOUT;
use crate::domain::ids::Jti;
use crate::domain::rotation::SigningAlg;
use crate::domain::time::Timestamp;
use crate::jose::LabKey;
use crate::lab::issuer::LabIssuer;

const AUDIENCE: &str = "https://service.lab.invalid";

fn issuer(name: &str) -> LabIssuer {
    let url = crate::domain::ids::IssuerUrl::parse(&format!("https://{name}.lab.invalid")).unwrap();
    LabIssuer::new(url, LabKey::of_seed(name.as_bytes()).unwrap()).unwrap()
}

fn cast() -> Cast {
    Cast {
        issuer: issuer("issuer"),
        untrusted: issuer("untrusted"),
        others: Others::default(),
        now: Timestamp(1_800_000_000),
    }
}

fn terms(alg: SigningAlg) -> Terms {
    Terms {
        audience: AUDIENCE.into(),
        sub: "user-1".into(),
        email: Some("alice@example.com".into()),
        client_id: "https://issuer.lab.invalid/agent-auth.json".into(),
        scope: Some("api.read".into()),
        resource: Some(format!("{AUDIENCE}/api/")),
        jti: Jti::parse("jti-1").unwrap(),
        alg,
    }
}

/// What a flaw of this kind is a change to.
fn good_tokens(kind: Kind, alg: SigningAlg, cast: &Cast) -> Vec<Draft> {
    let jti = Jti::parse("jti-1").unwrap();
    match kind {
        Kind::Assertion => vec![cast.assertion(&terms(alg)).unwrap()],
        Kind::Notice => [LOGOUT, SECEVENT].map(|typ| cast.notice(typ, alg, AUDIENCE, "user-1", &jti).unwrap()).into(),
        _ => vec![],
    }
}

fn good_document(kind: Kind, cast: &Cast) -> Option<Document> {
    let url = &cast.issuer.url;
    match kind {
        Kind::Jwks => Some(Document::new(cast.issuer.jwks())),
        Kind::Cimd => Some(Document::new(json!({"client_id": url.at("/agent-auth.json"), "client_name": "Lab",
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": url.at("/.well-known/jwks.json")}))),
        _ => None,
    }
}

/// A part of a token, read as any library does: of a repeated member the last counts.
fn part(token: &str, n: usize) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n)?).ok()?).ok()
}

#[test]
fn names_are_unique_and_sorted_and_sentences_are_sentences() {
    let names: Vec<&str> = all().iter().map(|flaw| flaw.name).collect();
    assert!(names.len() >= 80, "{}", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(all().is_sorted_by_key(|flaw| (flaw.kind, flaw.name)));
    let checks: BTreeSet<String> = all().iter().map(|flaw| flaw.check()).collect();
    assert_eq!(checks.len(), names.len());
    for flaw in all() {
        let kebab = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(kebab(flaw.name) && flaw.counterparts.iter().all(|name| rule(name).is_ok()), "{flaw:?}");
        let plain = |c: char| c == '|' || c == '`' || c == '\n';
        let sentence = flaw.meaning.starts_with(char::is_uppercase) && flaw.meaning.ends_with('.');
        assert!(sentence && !flaw.meaning.contains(plain), "{flaw:?}");
        assert!(flaw.touches.is_sorted() && flaw.touches.is_empty() == (flaw.kind == Kind::Sandbox), "{flaw:?}");
        let alone = ["jwks-", "cimd-", "notice-"].iter().find(|prefix| flaw.name.starts_with(**prefix));
        let prefix = format!("{}-", flaw.kind.as_str());
        assert_eq!(
            alone.copied(),
            Some(prefix.as_str()).filter(|_| !matches!(flaw.kind, Kind::Assertion | Kind::Sandbox)),
            "{flaw:?}"
        );
    }
    assert_eq!(find("expired").unwrap().name, "expired");
    assert_eq!(find("expird").unwrap_err(), Some("expired"));
    assert_eq!(rule("acept-expired").unwrap_err(), Some("accept-expired"));
    assert_eq!(rule("jti-replayed").unwrap_err(), Some("no-jti-memory"), "by what lets that pass");
}

#[test]
fn each_token_differs_from_a_good_one_in_what_it_declares_and_in_nothing_else() {
    let cast = cast();
    for flaw in all() {
        for alg in [SigningAlg::Es256, SigningAlg::Rs256] {
            for good in good_tokens(flaw.kind, alg, &cast) {
                let bad = flaw.apply(&good, &cast).unwrap();
                assert_eq!(good.differences(&bad), flaw.touches, "{flaw:?}");
                let Ok(token) = bad.token(&cast) else {
                    assert_eq!((flaw.name, alg), ("signature-in-der", SigningAlg::Rs256));
                    continue;
                };
                assert_eq!(token, bad.token(&cast).unwrap(), "{flaw:?}: the same each time");
                on_the_wire(flaw, &good, &cast, &token);
            }
        }
    }
}

/// The same of the two tokens as they are sent, read by nothing of ours.
fn on_the_wire(flaw: &Flaw, good: &Draft, cast: &Cast, bad: &str) {
    let good = good.token(cast).unwrap();
    let declared =
        |of: &str| flaw.touches.iter().any(|touched| *touched == of || touched.starts_with(&format!("{of}.")));
    if declared("request") {
        let rest = declared("claims") || declared("header");
        assert!(rest || bad == good, "{flaw:?}: only the request is another");
    } else {
        assert_ne!(bad, good, "{flaw:?}");
    }
    if declared("token") {
        return;
    }
    for (n, name) in [(0, "header"), (1, "claims")] {
        let (a, b) = (part(&good, n).unwrap(), part(bad, n).unwrap());
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let changed: Vec<String> =
            names.into_iter().filter(|m| a.get(*m) != b.get(*m)).map(|m| format!("{name}.{m}")).collect();
        let expected: Vec<&str> =
            flaw.touches.iter().copied().filter(|touched| touched.starts_with(&format!("{name}."))).collect();
        assert_eq!(changed, expected, "{flaw:?}");
    }
    let (a, b) = (good.rsplit_once('.').unwrap(), bad.rsplit_once('.').unwrap());
    let signed_otherwise = declared("key") || declared("signature");
    assert!(signed_otherwise || a.0 != b.0 || bad == good, "{flaw:?}");
}

#[test]
fn each_document_differs_from_a_good_one_in_what_it_declares_and_in_nothing_else() {
    let cast = cast();
    for flaw in all() {
        let Some(good) = good_document(flaw.kind, &cast) else { continue };
        let bad = flaw.spoil(&good, &cast).unwrap();
        assert_eq!(good.differences(&bad), flaw.touches, "{flaw:?}");
        let differs = (bad.status(), bad.content_type(), bad.body()) != (200, "application/json", good.body());
        let timed = matches!(bad.response, Response::Slow(_) | Response::Drip | Response::Stale);
        assert!(differs || timed, "{flaw:?}");
    }
}

#[test]
fn what_is_refused_is_refused_everywhere_that_has_a_rule() {
    for flaw in all() {
        let answers = Dialect::ALL.map(|dialect| flaw.answer(dialect));
        assert!(answers.iter().any(|answer| *answer != Answer::Open), "{flaw:?}");
        for answer in answers {
            if let Answer::Refuse { status, codes } = answer {
                assert!((400..=503).contains(&status) && !codes.is_empty(), "{flaw:?}");
            }
        }
    }
}

/// Every row of the catalogue that this table was made of, and the flaws that show it. Rules that no token can break are the service's alone:
/// what it does when everything is good. They are kept by name so that none is forgotten.
const ROWS: &[(&str, &[&str])] = &[
    ("an untrusted issuer", &["iss-untrusted", "iss-untrusted-with-a-trusted-key"]),
    ("an issuer with a slash", &["iss-with-a-slash"]),
    ("types", &["typ-missing", "typ-jwt", "typ-secevent", "typ-logout", "typ-access-token", "id-token"]),
    ("algorithms", &["alg-none", "alg-hs256-by-public-key", "alg-es384", "alg-of-another-kind-of-key"]),
    ("keys of the header", &["kid-unknown", "kid-missing", "jku-of-a-forger", "jwk-embedded", "x5u-of-a-forger"]),
    (
        "signatures",
        &["signature-flipped", "signature-in-der", "signature-truncated", "signature-r-zero", "signature-s-zero"],
    ),
    (
        "audiences",
        &["aud-of-another-service", "aud-of-the-resource", "aud-with-a-foreign-one", "aud-with-a-slash", "aud-missing"],
    ),
    ("ends", &["expired", "exp-missing", "exp-in-text", "exp-with-a-fraction", "exp-an-hour-ahead"]),
    ("beginnings", &["iat-ahead", "nbf-ahead"]),
    ("names of tokens", &["jti-replayed", "jti-missing"]),
    (
        "verified addresses",
        &["email-unverified", "email-verified-in-text", "email-verified-missing", "contact-missing"],
    ),
    ("sign-ins", &["auth-time-missing", "auth-time-stale", "auth-time-ahead", "auth-time-in-text"]),
    ("a known address under a new name", &["sub-new-with-known-email"]),
    ("clients", &["client-id-unknown", "client-id-of-a-stranger", "cimd-with-other-keys"]),
    ("another client than the one that authenticated", &["client-id-of-another"]),
    ("resources", &["resource-of-another-service"]),
    ("assertions of the service itself", &["iss-is-the-service", "at-the-token-endpoint"]),
    ("other kinds of token", &["id-token", "security-event-token", "logout-token", "as-a-credential"]),
    ("forms", &["too-long", "crit-unknown", "b64-false", "sub-twice", "alg-twice", "encrypted"]),
    ("a bound assertion without a proof", &["cnf-without-proof"]),
    ("a bound assertion with a proof by another key", &["cnf-with-a-strangers-proof"]),
    ("two audiences, one of them right", &["aud-with-a-foreign-one"]),
    ("a certificate that does not come", &["cnf-of-a-certificate"]),
    // What a resource authorization server has to check, one rule a line.
    ("rule R1", &["typ-missing"]),
    ("rule R2", &["aud-with-a-foreign-one", "aud-twice-in-a-list"]),
    ("rule R3", &["client-id-of-another", "client-id-missing"]),
    ("rule R4, no refresh token is returned", &[]),
    ("rule R5", &["resource-of-another-service", "scope-of-an-administrator", "authorization-details-unknown"]),
    ("rule R6", &["cnf-without-proof", "cnf-with-a-strangers-proof", "cnf-with-a-proof-for-another-address"]),
    ("rule R6b", &["cnf-of-a-certificate"]),
    ("rule R7", &["jti-replayed", "jti-replayed-after-restart"]),
    ("rule R8", &["iss-untrusted", "kid-unknown", "signed-by-a-stranger"]),
    ("rule R9", &["expired", "exp-missing", "iat-missing", "jti-missing", "sub-missing"]),
    ("rule R10", &["sub-id-malformed", "sub-id-of-an-unknown-format", "sub-id-of-another-user"]),
    ("rule R11", &["aud-with-a-slash", "aud-at-another-port", "aud-in-capitals", "aud-that-begins-alike"]),
    ("rule R12", &["sub-unknown"]),
    ("rule R13, metadata name the grant and no issuers", &[]),
    ("rule R14", &["alg-none", "scope-of-an-administrator", "resource-of-another-service"]),
    ("rule R15", &["iss-is-the-service"]),
    ("rule R16", &["client-id-in-act"]),
    // Revocation.
    ("a good notice ends what it names", &[]),
    ("another user's notice", &["notice-sub-of-another-user"]),
    (
        "notices that are wrong",
        &["notice-aud-of-another-service", "notice-iss-untrusted", "notice-typ-missing", "notice-signed-by-a-stranger"],
    ),
    ("an unknown event", &["notice-event-unknown"]),
    ("a notice twice", &["notice-jti-replayed"]),
    ("content types", &["notice-as-text", "notice-as-a-form"]),
    ("events", &["notice-events-missing", "notice-events-in-a-list"]),
    ("the other format", &["notice-of-the-other-format"]),
    ("a notice by a key that was rotated out", &["notice-signed-by-a-removed-key"]),
    ("a fresh assertion after a notice is taken", &[]),
    // The eleven that another tool sends.
    ("bad_signature", &["signed-by-a-stranger"]),
    ("wrong_audience", &["aud-of-another-service"]),
    ("expired", &["expired"]),
    ("missing_claims", &["identity-missing"]),
    ("invalid_type_header", &["typ-jwt"]),
    ("wrong_issuer", &["iss-untrusted-with-a-trusted-key"]),
    ("resource_mismatch", &["resource-of-another-service"]),
    ("client_id_mismatch", &["client-id-of-another"]),
    ("unknown_kid", &["kid-unknown"]),
    ("unknown_sub", &["sub-unknown"]),
    ("scope_denial", &["scope-of-an-administrator"]),
    // What a harness can do to documents.
    (
        "faults of a key set",
        &["jwks-slow", "jwks-fails", "jwks-stale", "jwks-huge", "jwks-redirects", "jwks-kid-twice"],
    ),
    ("a kind of key that is new", &["jwks-kty-unknown"]),
    ("faults of a client's document", &["cimd-of-another-client", "cimd-with-changed-keys", "cimd-redirects"]),
];

#[test]
fn every_row_of_the_catalogue_has_its_flaw() {
    assert_eq!(ROWS.len(), 23 + 17 + 10 + 11 + 3);
    for (row, names) in ROWS {
        for name in *names {
            assert!(find(name).is_ok(), "{row}: {name}");
        }
        let by_the_service = ["rule R4", "rule R13", "a good notice", "a fresh assertion"];
        assert_eq!(names.is_empty(), by_the_service.iter().any(|begin| row.starts_with(begin)), "{row}");
    }
}
