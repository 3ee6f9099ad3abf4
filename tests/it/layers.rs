//! The direction of the arrows, checked: who may name whom, and which library belongs to which layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const FLOOR: [&str; 5] = ["cache", "config", "secret", "clock", "rng"];

/// Module → the modules of ours it may name, and the libraries it may not.
fn rules() -> BTreeMap<&'static str, (Vec<&'static str>, Vec<&'static str>)> {
    let wire = ["axum", "hyper"];
    let not = |lists: &[&[&'static str]]| lists.concat();
    BTreeMap::from([
        // The floor uses nobody; a configuration is made of parsed identifiers.
        ("config", (vec!["domain"], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("secret", (vec![], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("cache", (vec![], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("clock", (vec![], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("rng", (vec![], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("domain", (vec![], not(&[&wire, &["sqlx", "reqwest", "tokio", "aws_lc_rs", "getrandom"]]))),
        ("jose", (vec!["domain"], not(&[&wire, &["sqlx", "reqwest", "tokio"]]))),
        ("store", (vec!["domain"], not(&[&wire, &["reqwest"]]))),
        ("net", (vec!["domain"], not(&[&wire, &["sqlx"]]))),
        ("error", (vec!["domain", "jose", "store"], not(&[&wire, &["sqlx", "reqwest"]]))),
        ("host", (vec!["domain", "jose", "store", "net", "error", "flow"], not(&[&wire, &["sqlx", "reqwest"]]))),
        (
            "flow",
            (vec!["domain", "jose", "store", "net", "error", "host", "flow"], not(&[&wire, &["sqlx", "reqwest"]])),
        ),
        ("delivery", (vec!["domain", "error", "host", "flow"], not(&[&wire, &["sqlx", "reqwest"]]))),
        ("http", (vec!["domain", "error", "host", "flow"], vec!["sqlx", "reqwest"])),
        ("lab", (vec!["domain", "jose", "net"], vec!["sqlx", "reqwest"])),
        (
            "cli",
            (
                vec!["domain", "error", "host", "flow", "net", "http", "delivery", "lab"],
                not(&[&wire, &["sqlx", "reqwest"]]),
            ),
        ),
        ("spec", (vec![], vec![])),
    ])
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
            into.push((name.to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::x`, also those in a grouped `use crate::{x, y}`.
fn named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap();
                found.extend(group.split(',').map(|part| part.trim().split("::").next().unwrap().to_owned()));
            }
            None => found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn arrows_point_down() {
    let rules = rules();
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    assert!(files.len() > 50, "the sources were found");
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let module = name.split('/').next().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) || name.contains("/tests") || name.contains("/testing") {
            continue;
        }
        let (may, not) = rules.get(module).unwrap_or_else(|| panic!("{name}: no rule says what {module} may name"));
        let code = code(text);
        for other in named(&code) {
            let floor = FLOOR.contains(&other.as_str()) && !(module == "domain" && other != "secret");
            let known = rules.contains_key(other.as_str());
            if known && other != module && !floor && !may.contains(&other.as_str()) {
                wrong.push(format!("{name} names crate::{other}"));
            }
        }
        for library in not {
            if code.contains(&format!("{library}::")) || code.contains(&format!("use {library};")) {
                wrong.push(format!("{name} uses {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn one_place_for_each_concern() {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let homes = [
        ("SystemTime::now", "clock.rs"),
        ("getrandom::fill", "rng.rs"),
        ("std::env::var", "config.rs"),
        ("reqwest::", "net/"),
        ("sqlx::", "store/"),
        ("EcdsaKeyPair", "jose/"),
        ("fn code_and_status", "http/error.rs"),
    ];
    for (what, home) in homes {
        for (name, text) in &files {
            assert!(name.starts_with(home) || !code(text).contains(what), "{name} has {what}, which belongs to {home}");
        }
    }
}
