//! What becomes of a probe's report: files, exit codes, the page in a browser.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, BrowserError, program};
use crate::harness::{avouch, run, text};

/// A report that `lab::probe::report::testing` made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/probe").join(format!("{name}.json"))
}

/// `avouch probe --from` one of them.
fn probe(folder: &TempDir, name: &str, more: &[&str]) -> Output {
    let file = fixture(name);
    let args = [&["probe", "--from", file.to_str().unwrap()], more].concat();
    run(folder.path(), &args)
}

/// Controls, markup, a turn of direction, and words without end.
const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">]]>\u{0}\r\n";

/// One of a service that writes it wherever it can.
fn hostile(folder: &TempDir) -> PathBuf {
    let mut report: Value = serde_json::from_str(&fs::read_to_string(fixture("bad")).unwrap()).unwrap();
    for member in ["target", "audience", "user", "advice"] {
        report[member] = json!(HOSTILE);
    }
    report["remarks"] = json!([HOSTILE]);
    report["understood"] = json!([{"name": HOSTILE, "value": HOSTILE, "why": "x".repeat(400)}]);
    for check in report["checks"].as_array_mut().unwrap().iter_mut().filter(|check| check["verdict"] != "pass") {
        for member in ["meaning", "section", "matters", "expected", "reason"] {
            check[member] = json!(HOSTILE);
        }
        check["link"] = json!("javascript:document.title='owned'");
        check["evidence"] = json!([{"what": HOSTILE, "curl": "x".repeat(400), "failure": null, "took_ms": 1,
            "token": {"header": HOSTILE, "claims": {HOSTILE: HOSTILE}},
            "answer": {"status": 200, "code": HOSTILE, "body": HOSTILE.repeat(5)}}]);
    }
    let file = folder.path().join("hostile.json");
    fs::write(&file, report.to_string()).unwrap();
    file
}

fn errors(output: &Output) -> String {
    text(&output.stderr)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_form_is_written_whole_and_the_exit_code_says_how_it_went() {
    let folder = TempDir::new().unwrap();
    let files = ["--json", "r.json", "--junit", "r.xml", "--sarif", "r.sarif", "--html", "r.html"];
    let bad = probe(&folder, "bad", &files);
    assert_eq!(bad.status.code(), Some(1), "{}", errors(&bad));
    assert!(text(&bad.stdout).contains("Grade F"));
    assert!(errors(&bad).contains("http://localhost:8000: 6 checks failed"), "{}", errors(&bad));
    assert_eq!(names(folder.path()), ["r.html", "r.json", "r.sarif", "r.xml"], "and nothing beside them");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("r.json"), fs::read_to_string(fixture("bad")).unwrap());
    assert!(read("r.xml").starts_with("<?xml"));
    assert!(read("r.html").starts_with("<!doctype html>"));
    assert_eq!(serde_json::from_str::<Value>(&read("r.sarif")).unwrap()["version"], "2.1.0");

    let good = probe(&folder, "good", &files);
    assert_eq!(good.status.code(), Some(0), "{}", errors(&good));
    assert_eq!(read("r.json"), fs::read_to_string(fixture("good")).unwrap(), "replaced");
}

#[test]
fn a_report_on_standard_output_is_alone_there() {
    let folder = TempDir::new().unwrap();
    let output = probe(&folder, "bad", &["--json", "-"]);
    assert_eq!(text(&output.stdout), fs::read_to_string(fixture("bad")).unwrap());
    assert!(errors(&output).contains("Grade F"));
    // A pipe is written into and not replaced, also by a link to it that has no path of its own: as /dev/stdout is one.
    let link = folder.path().join("stdout");
    symlink("/proc/self/fd/1", &link).unwrap();
    let output = probe(&folder, "good", &["--sarif", "stdout"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(text(&output.stdout).contains("\"version\": \"2.1.0\""));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(folder.path()), ["stdout"]);
}

#[test]
fn a_path_that_cannot_be_written_is_told_at_once() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    symlink(at("gone"), at("nowhere")).unwrap();
    for (args, expected) in [
        (vec!["--html", "folder"], "--html folder: Is a directory"),
        (vec!["--html", "none/r.html"], "--html none/r.html: No such file or directory"),
        (vec!["--json", ""], "a value is required for '--json <FILE>'"),
        (vec!["--json", "folder/.."], "--json folder/..: Is a directory"),
        (vec!["--json", "nowhere"], "--json nowhere: No such file or directory"),
        (vec!["--json", "r", "--html", "./r"], "--html ./r: --json writes there as well"),
        (vec!["--json", "-", "--sarif", "-"], "--sarif -: --json writes there as well"),
        (vec!["--baseline", "none"], "--baseline none: No such file or directory"),
    ] {
        let output = probe(&folder, "bad", &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", errors(&output));
        assert!(errors(&output).contains(expected), "{args:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "nothing was done");
    }
    assert_eq!(names(folder.path()), ["folder", "nowhere"]);
    // What a link leads to is written; the link stays.
    fs::write(at("there"), "before").unwrap();
    symlink(at("there"), at("link")).unwrap();
    assert_eq!(probe(&folder, "good", &["--json", "link"]).status.code(), Some(0));
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(fs::read_to_string(at("there")).unwrap().contains("\"schema\""));
    // Who may write anything anyhow is told nothing.
    fs::set_permissions(at("there"), fs::Permissions::from_mode(0o444)).unwrap();
    if fs::File::options().write(true).open(at("there")).is_err() {
        assert_eq!(probe(&folder, "good", &["--json", "there"]).status.code(), Some(2));
    }
}

#[test]
fn a_baseline_lets_known_failures_pass_and_is_kept_true() {
    let folder = TempDir::new().unwrap();
    let written = probe(&folder, "bad", &["--write-baseline", "known"]);
    assert_eq!(written.status.code(), Some(1));
    let known = probe(&folder, "bad", &["--baseline", "known"]);
    assert_eq!(known.status.code(), Some(0), "{}", errors(&known));
    assert!(text(&known.stdout).contains("Baseline: 6 failures as expected"));
    // Recommendations were not among them.
    let strict = probe(&folder, "bad", &["--baseline", "known", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(errors(&strict).contains("2 checks failed"), "{}", errors(&strict));
    // Mended, and not taken out.
    let mended = probe(&folder, "good", &["--baseline", "known"]);
    assert_eq!(mended.status.code(), Some(1));
    assert!(errors(&mended).contains("6 entries of the baseline are out of date"), "{}", errors(&mended));

    fs::write(folder.path().join("odd"), "rfc8725/3.1/alg-nome\n").unwrap();
    let odd = probe(&folder, "good", &["--baseline", "odd"]);
    assert_eq!(odd.status.code(), Some(1));
    let told = "line 1: there is no check rfc8725/3.1/alg-nome; did you mean";
    assert!(text(&odd.stdout).contains(told), "{}", text(&odd.stdout));
    fs::write(folder.path().join("odd"), "two words\n").unwrap();
    let odd = probe(&folder, "good", &["--baseline", "odd"]);
    assert_eq!(odd.status.code(), Some(2));
    assert!(errors(&odd).contains("--baseline odd: line 1: one id of a check"), "{}", errors(&odd));
}

#[test]
fn two_reports_are_compared() {
    let folder = TempDir::new().unwrap();
    let compare = |old: &Path, new: &Path| {
        run(folder.path(), &["probe", "--compare", old.to_str().unwrap(), new.to_str().unwrap()])
    };
    let (good, bad) = (fixture("good"), fixture("bad"));
    let worse = compare(&good, &bad);
    assert_eq!(worse.status.code(), Some(1));
    let said = text(&worse.stdout);
    assert!(
        said.contains("Worse (9)") && said.contains("  rfc7515/5.2/signed-by-a-stranger: pass -> fail\n"),
        "{said}"
    );
    let better = compare(&bad, &good);
    assert_eq!(better.status.code(), Some(0));
    assert!(text(&better.stdout).contains("Better (9)"));

    let mut newer: Value = serde_json::from_str(&fs::read_to_string(&good).unwrap()).unwrap();
    newer["schema"] = json!(7);
    let newer_file = folder.path().join("newer.json");
    fs::write(&newer_file, newer.to_string()).unwrap();
    let refused = compare(&good, &newer_file);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("its schema is 7, written by avouch"), "{}", errors(&refused));
    for args in [
        &["probe", "--compare", "a"][..],
        &["probe", "--compare", "a", "b", "--html", "c"],
        &["probe", "--compare", "a", "b", "--strict"],
        &["probe", "--compare", "a", "b", "--from", "c"],
        &["probe"],
    ] {
        assert_eq!(run(folder.path(), args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn colours_are_only_for_terminals_that_want_them() {
    let folder = TempDir::new().unwrap();
    let on_a_terminal = |variables: &[(&str, &str)]| {
        // `script` gives it one.
        let file = fixture("bad");
        let inner = format!("{} probe --from {}", env!("CARGO_BIN_EXE_avouch"), file.display());
        let mut command = Command::new("script");
        command.args(["-qec", &inner, "/dev/null"]).current_dir(folder.path());
        command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
        text(&command.output().unwrap().stdout)
    };
    let coloured = on_a_terminal(&[]);
    assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m"), "{coloured}");
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        assert!(!on_a_terminal(&variables).contains('\u{1b}'), "{variables:?}");
    }
    assert!(!text(&probe(&folder, "bad", &[]).stdout).contains('\u{1b}'), "no terminal");
    let mut narrow = avouch(folder.path(), &["probe", "--from", fixture("bad").to_str().unwrap()]);
    let narrow = text(&narrow.env("COLUMNS", "40").output().unwrap().stdout);
    assert_eq!(narrow, text(&probe(&folder, "bad", &[]).stdout), "a log is as wide as it is anywhere");
}

#[test]
fn reports_are_as_their_schema_says() {
    are_as_the_schema_says("probe-report", &["good", "bad"].map(fixture));
}

/// Files are as a published schema says, and have nothing that it does not describe.
pub(crate) fn are_as_the_schema_says(schema: &str, files: &[PathBuf]) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the libraries that it needs.
    let beside = tempfile::Builder::new().suffix(".mjs").tempfile_in(program("AVOUCH_TEST_VERIFIERS")).unwrap();
    fs::copy(ours.join("tests/verifiers/schema.mjs"), beside.path()).unwrap();
    let mut command = Command::new("node");
    command.arg(beside.path()).arg(ours.join(format!("docs/{schema}.schema.json")));
    let output = command.args(files).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
}

/// Each page at every width and in both schemes; what a service says does nothing on it, and nothing is fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_fits_and_nothing_on_it_runs() -> Result<(), BrowserError> {
    let folder = TempDir::new().unwrap();
    let browser = Browser::start().await;
    for (name, report) in [("good", fixture("good")), ("bad", fixture("bad")), ("hostile", hostile(&folder))] {
        let file = folder.path().join(format!("{name}.html"));
        run(folder.path(), &["probe", "--from", report.to_str().unwrap(), "--html", file.to_str().unwrap()]);
        browser.goto(&format!("file://{}", file.display())).await?;
        for (width, dark) in [(320, false), (320, true), (1200, true), (1200, false)] {
            browser.set_viewport(width, 900).await?;
            browser.dark(dark).await?;
            // Whatever can be opened is.
            browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)").await?;
            let scrolled = browser.evaluate("document.documentElement.scrollWidth").await?;
            assert!(scrolled.as_u64().is_some_and(|w| w <= u64::from(width)), "{name} is {scrolled} wide at {width}");
            let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").await?;
            assert_eq!(ground, if dark { "rgb(20, 22, 26)" } else { "rgb(246, 246, 244)" }, "{name}");
            let cut = "[...document.querySelectorAll('main *')].filter(e => e.clientWidth > 0 && getComputedStyle(e).display !== 'inline' \
                       && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))";
            assert_eq!(browser.evaluate(cut).await?, json!([]), "{name} at {width}");
        }
        assert_ne!(browser.title().await?, "owned", "{name} runs what it was sent");
        assert_eq!(browser.evaluate("document.scripts.length + document.images.length").await?, 0, "{name}");
        assert_eq!(browser.console().await?, [] as [String; 0], "{name}");
    }
    Ok(())
}

/// Without JavaScript: the choice is a radio button, and the stylesheet does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_chosen_without_javascript() -> Result<(), BrowserError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bad.html");
    probe(&folder, "bad", &["--html", file.to_str().unwrap()]);
    let browser = Browser::start().await;
    browser.goto(&format!("file://{}", file.display())).await?;
    let shown = "[...document.querySelectorAll('.check')].filter(e => e.checkVisibility()).map(e => e.className.split('-').slice(1).join('-'))";
    for (choice, among) in
        [("open", &["fail", "warning", "void", "could-not-run"][..]), ("pass", &["pass"]), ("skipped", &["skipped"])]
    {
        browser.click(&format!("#show-{choice}")).await?;
        let classes = browser.evaluate(shown).await?;
        let classes: Vec<&str> = classes.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(!classes.is_empty() && classes.iter().all(|class| among.contains(class)), "{choice}: {classes:?}");
    }
    browser.click("#show-all").await?;
    let report: Value = serde_json::from_str(&fs::read_to_string(fixture("bad")).unwrap()).unwrap();
    assert_eq!(browser.evaluate(shown).await?.as_array().unwrap().len(), report["checks"].as_array().unwrap().len());
    Ok(())
}
