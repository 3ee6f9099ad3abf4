//! `avouch demo`: what it prints went over the wire, fits a terminal, and lets nobody in.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use avouch::lab::agent::{Browser, Http, Person};
use avouch::net::{Net, Policy};
use tempfile::TempDir;

use crate::harness::{ALICE, PASSWORD, avouch, text};

fn demo(folder: &Path, args: &[&str]) -> Command {
    let mut demo = avouch(folder, &[&["demo"], args].concat());
    demo.env("TMPDIR", folder);
    demo
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn it_plays_to_its_end() {
    let folder = TempDir::new().unwrap();
    let output = demo(folder.path(), &[]).output().unwrap();
    let (said, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{log}");
    assert_eq!(log, "", "nothing to complain about");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it cleans up");

    assert!(said.starts_with("http://localhost:"), "{said}");
    for line in said.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!said.contains('\u{1b}'), "bold is for terminals");
    assert!(!said.contains("second notice"), "this process does not live to send it");
    let steps: Vec<&str> = said.split("\n\n").filter(|step| step.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(steps.len(), 9, "{said}");
    for step in &steps {
        assert!(step.contains("\n   $ curl -s ") && step.contains("\n   → "), "{step}");
    }
    for (n, shown) in [
        (0, "→ 401 www-authenticate: Bearer"),
        (1, "-d grant_type=authorization_code"),
        (2, "\"error\": \"consent_required\""),
        (2, "-d decision=allow"),
        (3, "\"typ\": \"oauth-id-jag+jwt\""),
        (4, "\"assertion\":\""),
        (5, "→ 200"),
        (6, "/stop "),
        (7, "→ 401"),
        (8, "\"error\": \"consent_required\""),
    ] {
        assert!(steps[n].contains(shown), "{shown}: {}", steps[n]);
    }
    let end = said.trim_end().lines().rev().nth(1).unwrap();
    let ms = end.strip_prefix("│  granted → used → stopped → refused in ").and_then(|rest| rest.strip_suffix(" ms  │"));
    assert!(ms.is_some_and(|ms| ms.parse::<u64>().is_ok()), "{end}");

    lets_nobody_in(&said);
    assert!(!said.contains(PASSWORD), "{said}");
}

/// What is long enough to let somebody in is the name of a question or a row, or public.
fn lets_nobody_in(said: &str) {
    let public = ["code_challenge", "\"jti\"", "\"kid\"", "\"sub\"", "/consent/", "location:", "/stop"];
    for line in said.lines().filter(|line| !public.iter().any(|known| line.contains(known))) {
        let longest = line.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').map(str::len).max();
        assert!(longest.unwrap_or(0) < 30, "{line}");
    }
}

#[test]
fn it_plays_in_every_dialect() {
    let folder = TempDir::new().unwrap();
    for (dialect, shown) in [
        ("flat", "\"identity_assertion\":"),
        ("nested", "\"identity\":"),
        ("rfc7523", "-d grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ] {
        let output = demo(folder.path(), &["--dialect", dialect]).output().unwrap();
        let (said, log) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && log.is_empty(), "{dialect}: {said}{log}");
        assert!(said.contains(shown) && said.contains("granted → used → stopped → refused"), "{dialect}: {said}");
        lets_nobody_in(&said);
    }
    let output = demo(folder.path(), &["--dialect", "oauth"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn it_waits_between_the_steps() {
    let folder = TempDir::new().unwrap();
    let mut child = demo(folder.path(), &["--step"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut steps = 0;
    loop {
        // Up to the question, which no line ends with.
        let mut part = Vec::new();
        said.read_until(b')', &mut part).unwrap();
        if part.is_empty() {
            break;
        }
        if text(&part).ends_with("(Enter)") {
            steps += 1;
            stdin.write_all(b"\n").unwrap();
        }
    }
    assert_eq!((steps, child.wait().unwrap().code()), (8, Some(0)));
    let output = demo(folder.path(), &["--step"]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "with nobody to wait for it goes on");
}

#[tokio::test]
async fn it_leaves_something_to_do() {
    let folder = TempDir::new().unwrap();
    let child = demo(folder.path(), &["--keep"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let said = BufReader::new(running.0.stdout.take().unwrap());
    let lines: Vec<String> = said.lines().map(Result::unwrap).take_while(|line| line != "Ctrl-C ends it.").collect();
    let after = |what: &str| lines.iter().find_map(|line| line.trim().strip_prefix(what)).unwrap().trim().to_owned();
    let (provider, service) = (lines[0].clone(), after("what the service has seen"));
    let net = Net::new(Policy { allow_private_addresses: true, allowed_networks: Vec::new() }).unwrap();
    let browser = Browser::new(Http::new(net));
    let alice = Person { browser, email: ALICE.into(), password: PASSWORD.into() };
    let question = alice.open(&after("a question, for ten minutes")).await.unwrap();
    assert!(question.status == 200 && question.body.contains("value=\"api.write\""), "{question}");
    assert_eq!(after("a connection to stop"), format!("{provider}/connections"));
    let host = service.trim_start_matches("http://").trim_end_matches('/');
    alice.stop(&provider, host).await.unwrap();
}
