//! The published vectors: made anew and compared, read, and judged by two libraries that nobody here wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use avouch::domain::rotation::SigningAlg::{self, Es256, Rs256};
use avouch::jose::{Jwks, Unverified};
use avouch::lab::flaws::{Kind, all};
use avouch::lab::vectors::{Vector, Vectors, Verdict, file_name, is_of, make, read};

use serde_json::Value;

use crate::browser::program;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn published(alg: SigningAlg) -> Vectors {
    read(&std::fs::read_to_string(folder().join(file_name(alg))).unwrap_or_default()).unwrap()
}

/// Those of which nobody can see anything in a file: the document comes late, or never.
const OF_TIME: [&str; 6] = ["cimd-drips", "cimd-hangs", "cimd-slow", "jwks-drips", "jwks-hangs", "jwks-slow"];

/// Written anew where INSTA_UPDATE is `always`, as the snapshots are.
#[test]
fn the_published_vectors_are_those_that_are_made() {
    for alg in [Es256, Rs256] {
        let made = make(alg).unwrap();
        assert_eq!(made, make(alg).unwrap(), "the same each time");
        let text = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
        let file = folder().join(file_name(alg));
        if std::env::vars().any(|(name, value)| name == "INSTA_UPDATE" && value == "always") {
            std::fs::write(&file, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(&file).unwrap_or_default() == text,
            "out of date: INSTA_UPDATE=always tests/run vectors"
        );
        assert_eq!(published(alg), made);
        whole(&made, alg);
        assert!(!text.contains("\"d\""), "no private key, but for those that are the flaw");
    }
}

/// Every flaw that can be written down is there, once, and the file says everything that it takes to see it.
fn whole(made: &Vectors, alg: SigningAlg) {
    let ids: BTreeSet<&str> = made.vectors.iter().map(|vector| vector.id.as_str()).collect();
    assert_eq!(ids.len(), made.vectors.len());
    for flaw in all().iter().filter(|flaw| flaw.kind != Kind::Sandbox) {
        let there = made.vectors.iter().any(|vector| vector.flaw.as_deref() == Some(flaw.name));
        assert_eq!(there, is_of(flaw, alg) && !OF_TIME.contains(&flaw.name), "{flaw:?} by {alg:?}");
    }
    for vector in &made.vectors {
        let of_document = matches!(vector.kind, Kind::Jwks | Kind::Cimd);
        assert_eq!(vector.documents.is_empty(), !of_document, "{}", vector.id);
        let Some(first) = vector.documents.first() else { continue };
        let at = if vector.kind == Kind::Jwks { "/.well-known/jwks.json" } else { "/agent-auth.json" };
        assert_eq!(first.url, format!("{}{at}", made.issuer.issuer), "{}", vector.id);
    }
    // Whoever trusted everybody would take this one.
    let untrusted = made.vectors.iter().find(|vector| vector.id == "iss-untrusted").unwrap();
    let (token, keys) = (Unverified::parse(&untrusted.token).unwrap(), Jwks::parse(&made.untrusted_issuer.jwks));
    assert!(token.verify::<Value>(keys.find(token.kid(), &made.alg).unwrap(), Some("oauth-id-jag+jwt")).is_ok());
    // The token of a document that has a flaw is good where the document is, but for the one that is signed too early.
    let keys = Jwks::parse(&made.issuer.jwks);
    for vector in made.vectors.iter().filter(|vector| !vector.documents.is_empty()) {
        let token = Unverified::parse(&vector.token).unwrap();
        let key = keys.find(token.kid(), &made.alg).unwrap();
        assert!(token.verify::<Value>(key, Some("oauth-id-jag+jwt")).is_ok(), "{}", vector.id);
    }
}

/// What a library says to each, by its id: nothing, or what is wrong.
fn judged(program: &str, script: &Path, alg: SigningAlg) -> BTreeMap<String, Option<String>> {
    let files = [folder().join(file_name(alg)), folder().join("id-jag.schema.json")];
    let output = Command::new(program).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything good is taken, and of what a library can see it takes what is named, and nothing else.
fn assert_sees(library: &str, alg: SigningAlg, answers: &BTreeMap<String, Option<String>>, blind: &[&str]) {
    let vectors = published(alg).vectors;
    let taken = |vector: &&Vector| answers[&vector.id].is_none();
    let tolerated = |vector: &&Vector| vector.kind == Kind::Jwks && vector.verdict == Verdict::Accept;
    let good = vectors.iter().filter(|vector| vector.flaw.is_none() || tolerated(vector));
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
        "signature" => &[
            "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
            "ERR_JWKS_",
            "ERR_JOSE_ALG_NOT_ALLOWED",
            "ERR_CRYPTO_INVALID_JWK",
            "2048 bits or larger",
        ],
        "type" => &["\"typ\""],
        // The keys are the trusted one's.
        "issuer" => &["\"iss\"", "ERR_JWKS_NO_MATCHING_KEY"],
        "audience" => &["\"aud\""],
        "expiry" => &["ERR_JWT_EXPIRED"],
        "unavailable" => &["SyntaxError"],
        _ => &["ERR_"],
    }
}

#[test]
fn jose_judges_them() {
    let script = PathBuf::from(program("AVOUCH_TEST_VERIFIERS")).join("vectors.mjs");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/vectors.mjs"), &script).unwrap();
    for alg in [Es256, Rs256] {
        let answers = judged("node", &script, alg);
        assert_sees("jose", alg, &answers, &[]);
        for vector in published(alg).vectors.iter().filter(|vector| vector.seen_by.as_deref() == Some("library")) {
            let said = answers[&vector.id].as_deref().unwrap();
            let expected = says(vector.reason.as_deref().unwrap());
            assert!(expected.iter().any(|words| said.contains(words)), "{}: {said}", vector.id);
        }
    }
}

/// It knows no types, reads a number in a text as a number, and does not ask what a key is for. Until CVE-2026-32597 was mended, which Debian did
/// in its own 2.6, it knew no critical extensions either.
#[test]
fn pyjwt_judges_them() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/vectors.py");
    let extensions = ["crit-empty", "crit-unknown", "notice-crit-unknown"];
    let blind = [
        "exp-in-text",
        "id-token",
        "jwks-key-for-encryption",
        "jwks-key-for-signing-only",
        "logout-token",
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
    // It looks at more where keys are RSA.
    let of_curves = ["jwks-key-of-another-alg", "jwks-with-a-private-key"];
    for (alg, more) in [(Es256, &of_curves[..]), (Rs256, &[])] {
        let answers = judged(&program("PYTHON"), &script, alg);
        let unmended = if answers["crit-unknown"].is_none() { &extensions[..] } else { &[] };
        assert_sees("PyJWT", alg, &answers, &[&blind[..], more, unmended].concat());
    }
}

/// By the schema that both read first.
#[test]
fn a_newer_file_is_refused_by_others_too() {
    let temporary = tempfile::TempDir::new().unwrap();
    let newer = temporary.path().join("newer.json");
    let mut file = serde_json::to_value(published(Es256)).unwrap();
    file["schema_version"] = 2.into();
    std::fs::write(&newer, file.to_string()).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
    let installed = PathBuf::from(program("AVOUCH_TEST_VERIFIERS")).join("vectors.mjs");
    std::fs::copy(scripts.join("vectors.mjs"), &installed).unwrap();
    for (program, script) in [("node".to_owned(), installed), (program("PYTHON"), scripts.join("vectors.py"))] {
        let schema = folder().join("id-jag.schema.json");
        let output = Command::new(program).arg(script).arg(&newer).arg(schema).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("version 2"), "{said}");
    }
}
