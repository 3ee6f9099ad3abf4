//! The list of flaws, as a file and as a command.

use std::fmt::Write as _;

use avouch::lab::flaws::{Answer, Dialect, Flaw, Kind, all};
use serde_json::Value;

use crate::harness::{run, text};

const INTRODUCTION: &str = "\
# Flaws

Every deliberate flaw that the lab makes, and the answer it should get. Made of the table in `src/lab/flaws` by a test; `avouch flaws --json`
prints the same for programs.

- Each flaw is **one** change to something good: same user, client, audience, scope and every other claim. *Touches* names what differs.
- *Level*: whoever takes a MUST breaks a rule, a SHOULD had better be refused, and a policy is for each service to decide.
- *Class* is what a refusal should be about. Judge it first, and the code second: good services differ in their codes. The first code is the exact
  one, those behind it are seen as well. \"open\": the dialect has no rule; \"taken\": it is not to be refused.
- The dialects are auth.md v0.1, v0.2 to v0.7 (flat), after v0.7 (nested), and a plain resource authorization server (RFC 7523, MCP
  Enterprise-Managed Authorization).
- *Seen by*: `library` by a JWT library that was told issuer, audience, type and algorithms and given the key set as it comes; `profile` by whoever
  knows the claims; `service` by whoever remembers what came before, fetches documents, or looks at the whole request.
- *Check* is the probe's id for it, *sandbox* the flaws of the sandbox that let it pass; of what is to be taken, those that refuse it.
";

fn answer(answer: Answer) -> String {
    match answer {
        Answer::Refuse { status, codes } => {
            format!("{status} {}", codes.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", "))
        }
        Answer::Accept { status } => format!("{status}, taken"),
        Answer::Open => "open".to_owned(),
    }
}

fn row(flaw: &Flaw) -> String {
    let json = serde_json::to_value(flaw).unwrap();
    let word = |name: &str| json[name].as_str().unwrap_or("-").to_owned();
    let touches: Vec<String> = flaw.touches.iter().map(|touched| format!("`{touched}`")).collect();
    let sandbox: Vec<String> = flaw.counterparts.iter().map(|name| format!("`{name}`")).collect();
    let sandbox = if sandbox.is_empty() { "-".to_owned() } else { sandbox.join(", ") };
    let answers = Dialect::ALL.map(|dialect| answer(flaw.answer(dialect))).join(" | ");
    format!(
        "| `{}` | {} | {} {} | {} | {} | {} | {answers} | `{}` | {} |",
        flaw.name,
        flaw.meaning,
        flaw.level.as_str(),
        flaw.section,
        word("class"),
        touches.join(", "),
        word("seen_by"),
        flaw.check(),
        sandbox,
    )
}

/// `docs/flaws.md`, of the table. Written anew where INSTA_UPDATE is `always`, as the snapshots are.
#[test]
fn the_document_of_flaws() {
    let mut written = INTRODUCTION.to_owned();
    for (kind, title) in [
        (Kind::Assertion, "Assertions"),
        (Kind::Notice, "Notices"),
        (Kind::Jwks, "Key sets"),
        (Kind::Cimd, "Client ID Metadata Documents"),
        (Kind::Sandbox, "The sandbox"),
    ] {
        let flaws: Vec<&Flaw> = all().iter().copied().filter(|flaw| flaw.kind == kind).collect();
        if flaws.is_empty() {
            continue;
        }
        let dialects = "auth.md v0.1 | v0.2 to v0.7 | nested | RFC 7523";
        write!(
            written,
            "\n## {title}\n\n| flaw | what it is | rule | class | touches | seen by | {dialects} | check | sandbox |\n"
        )
        .unwrap();
        writeln!(written, "|{}", " --- |".repeat(12)).unwrap();
        for flaw in flaws {
            writeln!(written, "{}", row(flaw)).unwrap();
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/flaws.md");
    if std::env::vars().any(|(name, value)| name == "INSTA_UPDATE" && value == "always") {
        std::fs::write(file, &written).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert!(there == written, "docs/flaws.md is out of date: run INSTA_UPDATE=always tests/run the_document_of_flaws");
}

#[test]
fn the_command_lists_them() {
    let folder = tempfile::TempDir::new().unwrap();
    let flaws = |args: &[&str]| {
        let output = run(folder.path(), &[&["flaws"], args].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = flaws(&[]);
    assert_eq!(code, 0);
    assert!(all().iter().all(|flaw| listed.contains(flaw.name) && listed.contains(flaw.meaning)));
    let (code, listed, _) = flaws(&["--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let items = listed["items"].as_array().unwrap();
    assert_eq!((code, items.len()), (0, all().len()));
    let expired = items.iter().find(|item| item["name"] == "expired").unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(expired).unwrap());
    let (_, notices, _) = flaws(&["--json", "--kind", "notice"]);
    let notices: Value = serde_json::from_str(&notices).unwrap();
    assert!(notices["items"].as_array().unwrap().iter().all(|item| item["kind"] == "notice"));
    let (code, _, said) = flaws(&["--kind", "notices"]);
    assert!(code == 2 && said.contains("notice"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}
