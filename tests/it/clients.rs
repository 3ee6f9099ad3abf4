//! The helpers for other people's tests, each by its own tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::browser::program;
use crate::harness::text;

#[test]
fn the_helper_for_python() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let mut tests = Command::new(program("PYTHON"));
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).current_dir(folder);
    let output =
        tests.env("AVOUCH", env!("CARGO_BIN_EXE_avouch")).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// In the folder of what npm installed, since that is where its modules are found from.
#[test]
fn the_helper_for_typescript() {
    let installed = PathBuf::from(program("AVOUCH_TEST_VERIFIERS"));
    let folder = installed.join("typescript");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["avouch-harness.ts", "avouch-harness.test.ts"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript").join(file);
        std::fs::copy(from, folder.join(file)).unwrap();
    }
    let mut tests = Command::new("node");
    tests.arg(installed.join("node_modules/vitest/vitest.mjs")).arg("run").current_dir(&folder);
    let output = tests.env("AVOUCH", env!("CARGO_BIN_EXE_avouch")).env("CI", "true").output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_helper_for_go() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/go");
    let cache = tempfile::TempDir::new().unwrap();
    let mut tests = Command::new(program("GO"));
    tests.args(["test", "-count=1", "./..."]).current_dir(folder);
    // Nothing is fetched, and nothing of the person who runs the tests is read or written.
    tests
        .env("HOME", cache.path())
        .env("GOCACHE", cache.path().join("cache"))
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=readonly");
    let output = tests.env("AVOUCH", env!("CARGO_BIN_EXE_avouch")).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
