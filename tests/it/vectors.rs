//! The published vectors: made anew and compared, read, and judged by two libraries that nobody here wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use avouch::jose::{Jwks, Unverified};
use avouch::lab::flaws::{Kind, all};
use avouch::lab::vectors::{Vector, Vectors, Verdict, make, read};

use serde_json::Value;

use crate::browser::program;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn published() -> Vectors {
    read(&std::fs::read_to_string(folder().join("id-jag.json")).unwrap_or_default()).unwrap()
}

/// Written anew where INSTA_UPDATE is `always`, as the snapshots are.
#[test]
fn the_published_vectors_are_those_that_are_made() {
    let made = make().unwrap();
    assert_eq!(made, make().unwrap(), "the same each time");
    let text = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
    let file = folder().join("id-jag.json");
    if std::env::vars().any(|(name, value)| name == "INSTA_UPDATE" && value == "always") {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == text,
        "out of date: INSTA_UPDATE=always tests/run vectors"
    );
    assert_eq!(published(), made);

    let ids: BTreeSet<&str> = made.vectors.iter().map(|vector| vector.id.as_str()).collect();
    assert_eq!(ids.len(), made.vectors.len());
    for flaw in all().iter().filter(|flaw| matches!(flaw.kind, Kind::Assertion | Kind::Notice)) {
        assert!(made.vectors.iter().any(|vector| vector.flaw.as_deref() == Some(flaw.name)), "{flaw:?}");
    }
    assert!(!text.contains("\"d\""), "no private key");
    // Whoever trusted everybody would take this one.
    let untrusted = made.vectors.iter().find(|vector| vector.id == "iss-untrusted").unwrap();
    let (token, keys) = (Unverified::parse(&untrusted.token).unwrap(), Jwks::parse(&made.untrusted_issuer.jwks));
    assert!(token.verify::<Value>(keys.find(token.kid(), "ES256").unwrap(), Some("oauth-id-jag+jwt")).is_ok());
}

/// What a library says to each, by its id: nothing, or what is wrong.
fn judged(program: &str, script: &Path) -> BTreeMap<String, Option<String>> {
    let files = [folder().join("id-jag.json"), folder().join("id-jag.schema.json")];
    let output = Command::new(program).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything good is taken, and of what a library can see it takes what is named, and nothing else.
fn assert_sees(library: &str, answers: &BTreeMap<String, Option<String>>, blind: &[&str]) {
    let vectors = published().vectors;
    let taken = |vector: &&Vector| answers[&vector.id].is_none();
    let good = vectors.iter().filter(|vector| vector.flaw.is_none());
    for vector in good {
        assert_eq!(answers[&vector.id], None, "{library} refuses {}", vector.id);
    }
    let visible = vectors.iter().filter(|vector| vector.seen_by.as_deref() == Some("library"));
    let missed: BTreeSet<&str> = visible.filter(taken).map(|vector| vector.flaw.as_deref().unwrap()).collect();
    assert_eq!(missed, blind.iter().copied().collect(), "{library} does not see");
    // What only a profile or a service can see is good JWT: nothing else is wrong with it.
    let signed = vectors.iter().filter(|vector| vector.seen_by.as_deref() == Some("service"));
    for vector in signed.filter(|vector| vector.verdict != Verdict::Accept) {
        assert!(taken(&vector), "{library}: {} {:?}", vector.id, answers[&vector.id]);
    }
}

/// What jose says where a refusal is about this: refused for something else, a flaw would prove nothing.
fn says(reason: &str) -> &'static [&'static str] {
    match reason {
        "signature" => &["ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "ERR_JWKS_", "ERR_JOSE_ALG_NOT_ALLOWED"],
        "type" => &["\"typ\""],
        // The keys are the trusted one's.
        "issuer" => &["\"iss\"", "ERR_JWKS_NO_MATCHING_KEY"],
        "audience" => &["\"aud\""],
        "expiry" => &["ERR_JWT_EXPIRED"],
        _ => &["ERR_"],
    }
}

#[test]
fn jose_judges_them() {
    let script = PathBuf::from(program("AVOUCH_TEST_VERIFIERS")).join("vectors.mjs");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/vectors.mjs"), &script).unwrap();
    let answers = judged("node", &script);
    assert_sees("jose", &answers, &[]);
    for vector in published().vectors.iter().filter(|vector| vector.seen_by.as_deref() == Some("library")) {
        let said = answers[&vector.id].as_deref().unwrap();
        let expected = says(vector.reason.as_deref().unwrap());
        assert!(expected.iter().any(|words| said.contains(words)), "{}: {said}", vector.id);
    }
}

/// It knows no types and no critical extensions, and reads a number in a text as a number.
#[test]
fn pyjwt_judges_them() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/vectors.py");
    let blind = [
        "crit-empty",
        "crit-unknown",
        "exp-in-text",
        "id-token",
        "logout-token",
        "notice-crit-unknown",
        "notice-of-the-other-format",
        "notice-typ-missing",
        "notice-typ-of-an-assertion",
        "security-event-token",
        "typ-access-token",
        "typ-in-a-list",
        "typ-jwt",
        "typ-logout",
        "typ-missing",
        "typ-secevent",
    ];
    assert_sees("PyJWT", &judged(&program("PYTHON"), &script), &blind);
}
