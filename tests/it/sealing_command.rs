//! The sealing key from a command, as an operator configures it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Answer, Serving, avouch, client, eventually, run, text};

/// Writes the configuration: what stands in `[keys]`.
fn configure(folder: &Path, keys: &str) {
    let toml = format!("issuer = 'http://localhost:4000'\nlisten = '127.0.0.1:0'\n[keys]\n{keys}\n");
    fs::write(folder.join("avouch.toml"), toml).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect());
    let mut names: Vec<String> = entries.unwrap_or_default();
    names.sort();
    names
}

/// A program that prints a key, and writes down that it was run.
fn program(folder: &Path, name: &str, prints: &str) {
    let path = folder.join(name);
    let script = format!("#!/bin/sh\necho ran >> {name}.runs\ntest -z \"$AVOUCH__LOG__LEVEL\" || exit 9\n{prints}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn runs(folder: &Path, name: &str) -> usize {
    fs::read_to_string(folder.join(format!("{name}.runs"))).unwrap_or_default().lines().count()
}

async fn ready(server: &Serving) -> u16 {
    client().get(format!("{}/readyz", server.url)).send().await.unwrap().status().as_u16()
}

fn serve(folder: &Path) -> (Serving, String) {
    let before = fs::read_to_string(folder.join("log")).unwrap_or_default().len();
    let server = Serving::start_as(folder, "export AVOUCH__LOG__LEVEL=info", &["serve"]);
    (server, fs::read_to_string(folder.join("log")).unwrap().split_off(before))
}

async fn listening(folder: &Path, server: &mut Serving) {
    let at = || {
        let log = fs::read_to_string(folder.join("log")).unwrap();
        Some(log.rsplit_once("listening on ")?.1.split_once('\n')?.0.to_owned())
    };
    eventually("its address", async || at().is_some()).await;
    server.url = format!("http://{}", at().unwrap());
}

fn keys(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(folder, &[&["keys"], args].concat());
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_command_gives_the_sealing_key() {
    let home = TempDir::new().unwrap();
    let folder = home.path();
    program(folder, "one", &format!("echo {}", "ab".repeat(32)));
    program(folder, "two", "printf '\\001%s' 2345678901234567890123456789012");
    configure(folder, "sealing_key_command = ['./one']");
    let (mut server, _) = serve(folder);
    listening(folder, &mut server).await;
    assert_eq!(ready(&server).await, 200);
    for _ in 0..5 {
        let answer = client().get(format!("{}/jwks.json", server.url)).send().await.unwrap();
        assert_eq!(Answer::read(answer).await.json()["keys"].as_array().unwrap().len(), 1);
    }
    assert_eq!(runs(folder, "one"), 1, "once at the start, and for no request");
    assert_eq!(names(&folder.join("keys")), ["admin-token"], "no sealing key was made");
    let (code, _, said) = keys(folder, &["list"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let (code, _, said) = keys(folder, &["reseal"]);
    assert_eq!(code, 2);
    assert!(said.contains("next_sealing_key_command"), "{said}");

    // The next one, on a server that runs.
    configure(folder, "sealing_key_command = ['./one']\nnext_sealing_key_command = ['./two']");
    let (code, _, said) = keys(folder, &["reseal"]);
    assert_eq!(code, 2, "the server has not read it: {said}");
    assert!(said.contains("have not got it") && said.contains("(process "), "{said}");
    server.signal("HUP");
    let (code, said, _) = keys(folder, &["reseal", "--dry-run"]);
    assert!(code == 0 && said.contains("1 keys would be sealed anew"), "{said}");
    eventually("both", async || {
        let would: Value = serde_json::from_str(&keys(folder, &["reseal", "--dry-run", "--json"]).1).unwrap();
        would["servers_without"].as_array().unwrap().is_empty()
    })
    .await;
    let (code, said, complaints) = keys(folder, &["reseal"]);
    assert_eq!(code, 0, "{said}{complaints}");
    assert!(
        said.contains("1 keys were sealed anew") && said.contains("To do: give what next_sealing_key_command is"),
        "{said}"
    );
    assert_eq!(ready(&server).await, 200);
    // The other way round, as it is to be; then without the old one, which is needed no more.
    for with in
        ["sealing_key_command = ['./two']\nnext_sealing_key_command = ['./one']", "sealing_key_command = ['./two']"]
    {
        configure(folder, with);
        let read = || fs::read_to_string(folder.join("log")).unwrap().matches("read again and applied").count();
        let before = read();
        server.signal("HUP");
        eventually("the reload", async || read() > before).await;
        assert_eq!(ready(&server).await, 200);
    }
    // The old one opens nothing: a reload with it is refused, and a start.
    configure(folder, "sealing_key_command = ['./one']");
    server.signal("HUP");
    let log = || fs::read_to_string(folder.join("log")).unwrap();
    eventually("the refusal", async || log().contains("is not applied: there are signing keys in the database")).await;
    assert_eq!(ready(&server).await, 200);
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0));
    let output = run(folder, &["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("that only the sealing key"), "{}", text(&output.stderr));
    let output = run(folder, &["check-config"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("a start would be refused"));
    configure(folder, "sealing_key_command = ['./two']");
    let (server, log) = serve(folder);
    drop(server);
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_command_that_gives_no_key_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for (n, (prints, says)) in [
        ("true", "it printed nothing"),
        ("echo no", "it printed 3 bytes that are no key"),
        ("echo 'access denied' >&2; exit 4", "it failed (exit status: 4): access denied"),
        ("head -c 9000 /dev/zero", "it printed more than 4096 bytes"),
    ]
    .into_iter()
    .enumerate()
    {
        program(folder, "kms", prints);
        for name in ["sealing_key_command", "next_sealing_key_command"] {
            configure(folder, &format!("{name} = ['./kms']"));
            for args in [&["serve"][..], &["keys", "init"], &["check-config"]] {
                let output = run(folder, args);
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(2), "{n} {args:?} {said}");
                assert!(said.lines().count() == 1 && said.contains(&format!("[keys] {name}: {says}")), "{said}");
            }
        }
        assert_eq!(names(folder), ["avouch.toml", "kms", "kms.runs"], "nothing was made");
    }
    configure(folder, "sealing_key_command = ['./nowhere']");
    let output = avouch(folder, &["serve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it cannot be started"), "{}", text(&output.stderr));
    assert!(!folder.join("keys").exists() && !folder.join("data").exists());
}

/// From the file that a first start has made to a command.
#[tokio::test]
async fn from_a_file_to_a_command() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    configure(folder, "");
    assert_eq!(keys(folder, &["init"]).0, 0);
    program(folder, "kms", &format!("echo {}", "cd".repeat(32)));
    configure(folder, "next_sealing_key_command = ['./kms']");
    let (code, said, complaints) = keys(folder, &["reseal"]);
    assert_eq!(code, 0, "{said}{complaints}");
    assert!(said.contains("To do: give what next_sealing_key_command is to sealing_key_command"), "{said}");
    let kept = |name: &String| name.len() == "sealing-0123456789abcdef.key".len() && name.starts_with("sealing-");
    assert_eq!(names(&folder.join("keys")).iter().filter(|name| kept(name)).count(), 1);
    configure(folder, "sealing_key_command = ['./kms']");
    assert_eq!(keys(folder, &["list"]).0, 0);
    fs::remove_file(folder.join("keys/sealing.key")).unwrap();
    assert_eq!(keys(folder, &["list"]).0, 0, "that is of no use any more");

    // A file of before that is not what its name says, or is open to others, is told.
    let old = names(&folder.join("keys")).into_iter().find(kept).unwrap();
    let old = folder.join("keys").join(old);
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, said) = keys(folder, &["list"]);
    assert!(code == 2 && said.contains("chmod 600"), "{said}");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&old, [5; 32]).unwrap();
    let (code, _, said) = keys(folder, &["list"]);
    assert!(code == 2 && said.contains("not the one that it is named after"), "{said}");
}
