//! The binary as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;

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

/// What is logged by this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps it as long as the guard lives.
    pub(crate) fn keep(level: LevelFilter) -> (Self, DefaultGuard) {
        // Where there is one subscriber alone, a place that another thread comes by first is taken for one that nobody listens to.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish()));
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    pub(crate) fn text(&self) -> String {
        text(&self.0.lock().unwrap())
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
