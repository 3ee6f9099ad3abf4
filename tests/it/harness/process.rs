//! The binary as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::eventually;

pub(crate) fn avouch(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avouch"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    avouch(folder, args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A process that serves; killed when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Serving {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_as(folder, "true", args)
    }

    /// From a shell that has done something first.
    pub(crate) fn start_as(folder: &Path, first: &str, args: &[&str]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let log_so_far = || std::fs::read_to_string(folder.join("log")).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{first}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_avouch")]).args(args);
        shell.current_dir(folder).env_clear().stdin(Stdio::null()).stderr(log);
        Self::spawn(&mut shell).unwrap_or_else(|| panic!("{}", log_so_far()))
    }

    /// A command that prints its address first, with a standard error of the caller's.
    pub(crate) fn spawn(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| Self { child, url: line.trim_end().to_owned() })
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        eventually("the end of the process", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
