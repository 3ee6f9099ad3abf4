//! The log: lines on standard error. A thread of its own writes them, so that nobody waits for whoever reads them or stopped reading;
//! lines that nobody takes are counted and lost.

use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat, LogLevel};

/// Lines that may wait to be written.
const WAITING: usize = 8192;
/// Lines that come within this time are written together.
const TOGETHER: Duration = Duration::from_millis(2);
/// Most bytes that are written together.
const MAX: usize = 64 * 1024;
/// Time for what is left, at the end.
const LAST: Duration = Duration::from_millis(500);

static LINES: OnceLock<Lines> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

/// The way to the thread.
#[derive(Clone)]
struct Lines(SyncSender<Message>);

enum Message {
    Line(Vec<u8>),
    /// To be answered when all before it is written.
    Written(SyncSender<()>),
}

/// Logs from now on. What libraries have to say is of use to nobody who runs a server, unless it is a warning.
pub(super) fn start(log: Log) {
    let Some(lines) = lines() else { return };
    let ours = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let filter = Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("avouch", ours);
    let to = move || lines.clone();
    let layer = fmt::layer().with_target(false).with_ansi(io::stderr().is_terminal()).with_writer(to);
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    // A second call in one process changes nothing.
    let _ = tracing_subscriber::registry().with(layer).with(filter).try_init();
}

/// A line as it is, among those of the log.
pub(super) fn say(line: std::fmt::Arguments<'_>) {
    let line = format!("{line}\n");
    let _ = match lines() {
        Some(mut lines) => lines.write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}

/// Waits until everything is written, but not for long.
pub(super) fn finish() {
    let Some(Lines(lines)) = LINES.get() else { return };
    let (written, all) = sync_channel(1);
    if lines.try_send(Message::Written(written)).is_ok() {
        let _ = all.recv_timeout(LAST);
    }
}

/// `None` when there can be no thread.
fn lines() -> Option<Lines> {
    if let Some(lines) = LINES.get() {
        return Some(lines.clone());
    }
    let (lines, waiting) = sync_channel(WAITING);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write(&waiting));
    thread.ok().map(|_| LINES.get_or_init(|| Lines(lines)).clone())
}

fn write(waiting: &Receiver<Message>) {
    let (mut text, mut told) = (Vec::new(), Vec::new());
    while let Ok(first) = waiting.recv() {
        if matches!(first, Message::Line(_)) {
            thread::sleep(TOGETHER);
        }
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => text.extend_from_slice(&line),
                Message::Written(tell) => told.push(tell),
            }
            next = if text.len() < MAX { waiting.try_recv().ok() } else { None };
        }
        // Nothing can be done about an error, and nobody could be told.
        let _ = io::stderr().write_all(&text);
        text.clear();
        for tell in told.drain(..) {
            let _ = tell.send(());
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lines = lost, "the log was not read fast enough: lines are lost");
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Message::Line(line.to_vec())) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_whoever_reads() {
        let (lines, unread) = sync_channel(1);
        let (written, all) = sync_channel(1);
        thread::spawn(move || {
            let mut lines = Lines(lines);
            for _ in 0..3 {
                lines.write_all(b"a line\n").unwrap();
            }
            written.send(LOST.swap(0, Ordering::Relaxed)).unwrap();
        });
        assert_eq!(all.recv_timeout(Duration::from_secs(10)), Ok(2), "what nobody takes is lost and counted");
        assert_eq!(unread.iter().count(), 1);
    }
}
