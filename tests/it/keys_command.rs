//! `avouch keys …` as an operator types it.

use std::path::Path;

use serde_json::Value;

use crate::harness::{run, text};

/// Exit code, standard output and standard error.
fn keys(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(folder, &[&["keys"], args].concat());
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn keys_from_the_first_to_a_revoked_one() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = |args: &[&str]| keys(folder.path(), args);
    let (code, _, said) = keys(&["list"]);
    assert_eq!(code, 2, "no server was ever started: {said}");
    assert!(!folder.path().join("data").exists() && !folder.path().join("keys").exists(), "nothing was made");

    let (code, listed, said) = keys(&["init"]);
    assert_eq!(code, 0, "{said}");
    assert!(listed.contains("active") && said.contains("sealing.key"), "{listed}{said}");
    let (code, again, said) = keys(&["init"]);
    assert_eq!((code, again.lines().count()), (0, 2), "it is there already: {again}{said}");

    let (code, prepared, _) = keys(&["prepare", "--json"]);
    assert_eq!(code, 0);
    let prepared: Value = serde_json::from_str(&prepared).unwrap();
    let kid = prepared["kid"].as_str().unwrap();
    let (code, _, said) = keys(&["activate", kid]);
    assert_eq!(code, 2);
    assert!(said.contains(&format!("it may sign from {} on", prepared["allowed_at"].as_str().unwrap())), "{said}");
    let (code, _, said) = keys(&["activate", kid, "--force"]);
    assert_eq!(code, 2, "a reason is missing");
    assert!(said.contains("--reason"), "{said}");
    let (code, line, said) = keys(&["activate", kid, "--force", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    assert!(line.contains("active"), "{line}");

    let revoke = ["revoke", kid, "--reason", "a stolen laptop"];
    let (code, report, _) = keys(&[&revoke[..], &["--dry-run"]].concat());
    assert_eq!(code, 0);
    assert!(report.contains("What revoking a signing key would do"), "{report}");
    let (code, _, said) = keys(&[&revoke[..], &["--reports", "/nowhere/at/all"]].concat());
    assert_eq!(code, 2, "told before anything is done: {said}");
    let (code, report, said) = keys(&revoke);
    assert_eq!(code, 0, "{said}");
    assert!(report.contains("A signing key was revoked"), "{report}");
    let written =
        |ending: &str| std::fs::read_to_string(folder.path().join(format!("key-revoked-{kid}.{ending}"))).unwrap();
    assert_eq!(written("md").trim(), report.trim());
    assert_eq!(serde_json::from_str::<Value>(&written("json")).unwrap()["reason"], "a stolen laptop");
    let (code, _, said) = keys(&[&revoke[..], &["--issuer", "nobody"]].concat());
    assert_eq!(code, 2, "{said}");
    assert_eq!(written("md").trim(), report.trim(), "a run that fails leaves what one before it wrote");

    let jwk = r#"{"kty":"EC","crv":"P-256","kid":"main-2025","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    std::fs::write(folder.path().join("key.json"), jwk).unwrap();
    let (code, line, said) = keys(&["import", "key.json"]);
    assert_eq!(code, 0, "{said}");
    assert!(line.starts_with("main-2025") && line.contains("pending"), "{line}");
    let (code, _, said) = keys(&["import", "avouch.toml"]);
    assert_eq!(code, 2, "{said}");
    let (code, set, _) = keys(&["export"]);
    assert_eq!(code, 0);
    let set: Value = serde_json::from_str(&set).unwrap();
    // The first one retires, the second was revoked and followed by one that was made for it, the third waits.
    assert_eq!(set["keys"].as_array().unwrap().len(), 3);
    assert!(set["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none() && key["kid"] != kid));
    for wrong in [
        &["list", "--issuer", "nobody"][..],
        &["prepare", "--alg", "HS256"],
        &["retire", "nothing"],
        &["revoke", "a/b", "--reason", "x"],
    ] {
        let (code, _, said) = keys(wrong);
        assert_eq!(code, 2, "{wrong:?}: {said}");
    }
}
