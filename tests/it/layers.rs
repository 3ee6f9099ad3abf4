//! The direction of the arrows, checked: who may name whom, and which library belongs to which layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FLOOR: [&str; 7] = ["cache", "config", "fetches", "secret", "clock", "rng", "meters"];

/// Module → the modules of ours it may name, and the libraries it may not.
fn rules() -> BTreeMap<&'static str, (Vec<&'static str>, Vec<&'static str>)> {
    let wire = ["axum", "hyper", "hyper_util"];
    let not = |lists: &[&[&'static str]]| lists.concat();
    BTreeMap::from([
        // The floor uses nobody but what things are made of: a configuration of parsed identifiers, a clock of times.
        ("config", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("secret", (vec![], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("cache", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("fetches", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("clock", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("meters", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("rng", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls", "tokio"]]))),
        ("domain", (vec![], not(&[&wire, &["sqlx", "hyper_rustls", "tokio", "aws_lc_rs", "getrandom"]]))),
        ("jose", (vec!["domain"], not(&[&wire, &["sqlx", "hyper_rustls"]]))),
        ("store", (vec!["domain"], not(&[&wire, &["hyper_rustls"]]))),
        ("net", (vec!["domain"], vec!["axum", "sqlx"])),
        ("error", (vec!["domain", "jose", "store"], not(&[&wire, &["sqlx", "hyper_rustls"]]))),
        ("passwords", (vec!["domain", "error"], not(&[&wire, &["sqlx", "hyper_rustls"]]))),
        (
            "host",
            (vec!["domain", "jose", "store", "net", "error", "passwords"], not(&[&wire, &["sqlx", "hyper_rustls"]])),
        ),
        (
            "flow",
            (
                vec!["domain", "jose", "store", "net", "error", "passwords", "host"],
                not(&[&wire, &["sqlx", "hyper_rustls"]]),
            ),
        ),
        ("delivery", (vec!["domain", "error", "host", "flow"], not(&[&wire, &["sqlx", "hyper_rustls"]]))),
        ("http", (vec!["domain", "error", "host", "flow"], vec!["sqlx", "hyper_rustls"])),
        ("lab", (vec!["domain", "jose", "net"], vec!["sqlx", "hyper_rustls"])),
        // It serves a provider of its own to other people's tests.
        (
            "lab::harness",
            (vec!["domain", "jose", "net", "error", "host", "flow", "http", "lab"], vec!["sqlx", "hyper_rustls"]),
        ),
        (
            "cli",
            (
                vec!["domain", "error", "passwords", "host", "flow", "net", "http", "delivery", "lab"],
                not(&[&wire, &["sqlx", "hyper_rustls"]]),
            ),
        ),
        ("spec", (vec![], vec![])),
    ])
}

/// A file of ours.
struct Source {
    /// Its path below its folder.
    name: String,
    /// Its module, from the crate down; the crate's own has none.
    module: Vec<String>,
    /// Its code without comments and without its tests.
    code: String,
}

/// The files of the program below a folder; those of its tests are left out.
fn sources(root: &str) -> Vec<Source> {
    fn read(root: &Path, folder: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(root, &path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
                if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
                    module.pop();
                }
                if !module.iter().any(|part| ["tests", "testing"].contains(&part.as_str())) {
                    into.push(Source { name, module, code: code(&fs::read_to_string(&path).unwrap()) });
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut files = Vec::new();
    read(&root, &root, &mut files);
    files
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every path that stands at the beginning of a text: several where it ends with a group.
fn paths(text: &str) -> Vec<Vec<String>> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let parts: Vec<String> = path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if !path.ends_with("::") && !path.is_empty() || !rest.starts_with('{') {
        return vec![parts];
    }
    let (mut depth, mut begins, mut found) = (0, 1, Vec::new());
    for (at, c) in rest.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if (c == ',' && depth == 1) || depth == 0 {
            let item = rest[begins..at].trim();
            found.extend(paths(item).into_iter().filter(|p| !p.is_empty()).map(|p| [&parts[..], &p[..]].concat()));
            begins = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found
}

impl Source {
    /// What it names of the crate, each as a path from the crate down.
    fn named(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let begins = |word: &str| {
            let free = |at: usize| !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            self.code.match_indices(word).map(|(at, _)| at).filter(|at| free(*at)).collect::<Vec<_>>()
        };
        // The file of a folder names its parts.
        for line in self.code.lines().filter_map(|line| line.trim_end().strip_suffix(';')) {
            let part = line.split_once("mod ").filter(|(before, _)| ["", "pub "].contains(before));
            found.extend(part.map(|(_, part)| [&self.module[..], &[part.to_owned()]].concat()));
        }
        for at in begins("crate::") {
            found.extend(paths(&self.code[at + "crate::".len()..]));
        }
        for at in begins("self::") {
            found.extend(paths(&self.code[at + "self::".len()..]).into_iter().map(|p| [&self.module[..], &p].concat()));
        }
        for at in begins("super::") {
            let (mut rest, mut base) = (&self.code[at..], &self.module[..]);
            while let Some(above) = rest.strip_prefix("super::") {
                (rest, base) = (above, &base[..base.len().saturating_sub(1)]);
            }
            found.extend(paths(rest).into_iter().map(|p| [base, &p].concat()));
        }
        found
    }

    /// What it passes on by a `pub use`, of whatever visibility: the names, from the crate down.
    fn passed_on(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("use ") {
            let line = &self.code[self.code[..at].rfind('\n').map_or(0, |end| end + 1)..at];
            if !line.trim_start().starts_with("pub") {
                continue;
            }
            let text = &self.code[at + "use ".len()..];
            let (base, text) = match (text.strip_prefix("crate::"), text.strip_prefix("super::")) {
                (Some(rest), _) => (&self.module[..0], rest),
                (_, Some(rest)) => (&self.module[..self.module.len().saturating_sub(1)], rest),
                _ => (&self.module[..], text.strip_prefix("self::").unwrap_or(text)),
            };
            found.extend(paths(text).into_iter().map(|p| [base, &p].concat()));
        }
        found
    }
}

/// Whose rule it is that a file follows.
fn rule_of(name: &str) -> &str {
    let module = name.split('/').next().unwrap().trim_end_matches(".rs");
    if name.starts_with("lab/harness") { "lab::harness" } else { module }
}

#[test]
fn arrows_point_down() {
    let rules = rules();
    let files = sources("src");
    assert!(files.len() > 50, "the sources were found");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.module.is_empty()) {
        let (name, module) = (&file.name, rule_of(&file.name));
        let (may, not) = rules.get(module).unwrap_or_else(|| panic!("{name}: no rule says what {module} may name"));
        for path in file.named() {
            let Some(other) = path.first().map(String::as_str) else { continue };
            let floor = FLOOR.contains(&other) && !(module == "domain" && other != "secret");
            if rules.contains_key(other) && other != file.module[0] && !floor && !may.contains(&other) {
                wrong.push(format!("{name} names crate::{other}"));
            }
        }
        for library in not {
            if file.code.contains(&format!("{library}::")) || file.code.contains(&format!("use {library};")) {
                wrong.push(format!("{name} uses {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point the wrong way:\n{}", wrong.join("\n"));
}

/// `http` and `delivery` may not name the store; a flow that passed it on would let them.
#[test]
fn nobody_passes_the_store_on() {
    for file in sources("src").iter().filter(|file| file.module.first().is_none_or(|first| first != "store")) {
        let passed_on = file.passed_on();
        let store = passed_on.iter().find(|path| path.first().is_some_and(|first| first == "store"));
        assert_eq!(store, None, "{} passes on what is the store's", file.name);
    }
}

/// Which file names which. A name that its folder's file passes on counts as named where it comes from. What a file names of the file of a
/// folder that it is in does not count: in Rust the two are one module tree, and the folder's file names its parts.
fn arrows(files: &[Source]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules: BTreeSet<&[String]> = files.iter().map(|file| &file.module[..]).collect();
    // The file that a path leads to, and what is left of the path there.
    let file_of = |path: &[String]| (0..=path.len()).rev().find(|n| modules.contains(&&path[..*n])).unwrap_or(0);
    let mut passed_on = BTreeMap::new();
    for file in files {
        for path in file.passed_on() {
            let home = file_of(&path);
            if home > 0 && path.len() > home {
                let alias = [&file.module[..], &path[path.len() - 1..]].concat();
                passed_on.insert(alias, path[..home].to_vec());
            }
        }
    }
    let mut arrows = BTreeMap::new();
    for file in files {
        let to: BTreeSet<Vec<String>> = file
            .named()
            .iter()
            .map(|path| {
                let home = file_of(path);
                let name = &path[..path.len().min(home + 1)];
                passed_on.get(name).cloned().unwrap_or_else(|| path[..home].to_vec())
            })
            .filter(|other| !file.module.starts_with(other))
            .collect();
        arrows.insert(file.module.clone(), to);
    }
    arrows
}

/// What is left when whoever names nobody is taken away, again and again: the circles, and those who lead to them.
fn circles(mut arrows: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    loop {
        let before = arrows.len();
        let known: BTreeSet<Vec<String>> = arrows.keys().cloned().collect();
        for to in arrows.values_mut() {
            to.retain(|other| known.contains(other));
        }
        arrows.retain(|_, to| !to.is_empty());
        if arrows.len() == before {
            return arrows;
        }
    }
}

#[test]
fn no_files_and_no_modules_import_each_other_in_a_circle() {
    for (root, least) in [("src", 200), ("benches/mint", 20)] {
        let files = sources(root);
        let arrows = arrows(&files);
        let count: usize = arrows.values().map(BTreeSet::len).sum();
        assert!(count > least, "{root}: only {count} arrows were found");
        let mut modules = BTreeMap::<Vec<String>, BTreeSet<Vec<String>>>::new();
        for (from, to) in arrows.iter().filter(|(from, _)| !from.is_empty()) {
            let others = to.iter().map(|other| other[..1].to_vec()).filter(|other| other[0] != from[0]);
            modules.entry(from[..1].to_vec()).or_default().extend(others);
        }
        assert_eq!(circles(arrows), BTreeMap::new(), "files of {root}");
        assert_eq!(circles(modules), BTreeMap::new(), "top-level modules of {root}");
    }
}

/// The search itself, on a program that has everything it looks for.
#[test]
fn circles_are_found_through_groups_and_folders() {
    let file = |name: &str, text: &str| Source {
        name: format!("{name}.rs"),
        module: name.split('/').filter(|part| *part != "lib").map(str::to_owned).collect(),
        code: code(text),
    };
    let found = |files: &[Source]| circles(arrows(files)).into_keys().map(|m| m.join("::")).collect::<Vec<_>>();
    let net =
        || file("net", "mod cache;\nmod documents;\npub use documents::{Documents, Limits};\nuse self::cache::Cache;");
    let documents = || file("net/documents", "use super::cache::{Bounds, Cache};\nuse super::Net;");
    let cache = |text: &str| [net(), documents(), file("net/cache", text)];
    assert_eq!(found(&cache("use super::Net;\n// use super::documents::Limits;")), [] as [&str; 0]);
    for circle in
        ["use super::documents::Limits;", "use super::{Limits, Net};", "use crate::net::{self, documents::{Limits}};"]
    {
        let found = found(&cache(circle));
        assert!(["net::cache", "net::documents"].iter().all(|m| found.iter().any(|f| f == m)), "{circle}: {found:?}");
    }
    let three =
        [file("a", "use crate::b::B;"), file("b", "fn f() { crate::c::f() }"), file("c", "use crate::{a::A, d};")];
    assert_eq!(found(&three), ["a", "b", "c"]);
    let flow = file("flow/connections", "pub use crate::store::{Filter, Ticket};\npub(crate) use crate::domain::A;");
    assert_eq!(
        flow.passed_on().iter().map(|p| p.join("::")).collect::<Vec<_>>(),
        ["store::Filter", "store::Ticket", "domain::A"]
    );
}

#[test]
fn one_place_for_each_concern() {
    let homes = [
        // A server's door is `Unverified::received`, which takes nothing of a lab.
        ("Unverified::parse", "lab/"),
        ("rotate::import_of_lab", "lab/harness/"),
        ("SystemTime::now", "clock.rs"),
        ("getrandom::fill", "rng.rs"),
        ("std::env::var", "config.rs"),
        ("reqwest::", "net/"),
        ("sqlx::", "store/"),
        ("EcdsaKeyPair", "jose/"),
        ("fn code_and_status", "http/error.rs"),
        ("metrics_exporter_prometheus", "meters.rs"),
        ("counter!(", "meters.rs"),
    ];
    for (what, home) in homes {
        for Source { name, code, .. } in &sources("src") {
            assert!(name.starts_with(home) || !code.contains(what), "{name} has {what}, which belongs to {home}");
        }
    }
}
