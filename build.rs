//! Which commit it is, for `--version`. Only in release builds: others would be built anew at each commit.

#![expect(clippy::disallowed_methods, reason = "what the build is told comes by its environment")]

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AVOUCH_COMMIT");
    // An image is built without the repository: its builder says which commit it is.
    let mut commit = std::env::var("AVOUCH_COMMIT").ok().filter(|text| !text.is_empty());
    if commit.is_none() && std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
        commit = git(&["rev-parse", "--short=12", "HEAD"]);
    }
    println!("cargo::rustc-env=AVOUCH_COMMIT={}", commit.as_deref().unwrap_or("development"));
}
