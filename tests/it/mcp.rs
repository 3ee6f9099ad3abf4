//! The cross-app access of MCP by the SDK that everybody uses, from a refusal to an answer and back: nothing of it is changed, and what it asks
//! of a service is what the sandbox has.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::program;
use crate::harness::{Serving, text};

#[test]
fn the_sdk_of_mcp_gets_a_token_and_loses_it() {
    let folder = TempDir::new().unwrap();
    let issuer = Serving::start(folder.path(), &["harness", "--port", "0"]);
    let sandbox = Serving::start(folder.path(), &["sandbox", "--port", "0", "--dialect", "rfc7523"]);
    // Beside its library: a script finds what it imports from where it is.
    let script = PathBuf::from(program("AVOUCH_TEST_VERIFIERS")).join("mcp.mjs");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/mcp.mjs"), &script).unwrap();
    let output = Command::new("node").arg(script).args([&issuer.url, &sandbox.url]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();

    let resource = format!("{}/api/", sandbox.url);
    let asked = json!([{"audience": sandbox.url, "resource": resource, "scope": "api.read api.write"}]);
    let first = &seen["first"];
    assert_eq!((&first["status"], &first["asked"]), (&json!(200), &asked), "{seen}");
    assert_eq!(
        (&first["body"]["sub"], &first["body"]["scopes"]),
        (&json!("alice"), &json!(["api.read", "api.write"])),
        "{seen}"
    );
    assert_eq!(seen["again"], json!({"status": 200, "asked": 0}));
    assert_eq!((&seen["withdrawn"], &seen["bare"]), (&json!(200), &json!(401)), "{seen}");
    assert_eq!(seen["anew"], json!({"status": 200, "asked": 1}), "by an assertion that the issuer gave after it");
    for (name, why) in [("stranger", "client or secret is wrong"), ("expired", "the assertion has expired")] {
        assert!(seen[name]["error"].as_str().is_some_and(|said| said.ends_with(why)), "{name}: {seen}");
    }
}
