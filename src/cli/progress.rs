//! How far a long command is: on a terminal a bar, else a line now and then.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Characters of the bar.
const WIDTH: u64 = 40;
/// How often it is drawn.
const DRAW: Duration = Duration::from_millis(100);
/// Where there is no terminal, a line comes each time that so many percent more are done.
const STEP: u64 = 10;

/// On standard error.
pub(super) struct Bar {
    /// What is done with each.
    what: &'static str,
    drawn: Option<Instant>,
    told: u64,
    terminal: bool,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, drawn: None, told: 0, terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, done: u64, all: u64) {
        if self.terminal {
            if done == all || self.drawn.is_none_or(|drawn| drawn.elapsed() > DRAW) {
                self.drawn = Some(Instant::now());
                let _ = write!(std::io::stderr(), "\r{}", bar(done, all));
            }
            return;
        }
        let percent = (done * 100 / all.max(1)).min(100);
        if percent >= self.told + STEP || (done == all && self.told < 100) {
            self.told = percent;
            say!("{}: {done} of {all} ({percent} %)", self.what);
        }
    }

    /// What comes after it begins a line of its own.
    pub(super) fn end(&self) {
        if self.drawn.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// What came to it meanwhile makes it no longer.
fn bar(done: u64, all: u64) -> String {
    let part = |of: u64| (done * of / all.max(1)).min(of);
    let filled = usize::try_from(part(WIDTH)).unwrap_or_default();
    let width = usize::try_from(WIDTH).unwrap_or_default();
    format!("[{:<width$}] {:>3} %  {done} of {all}", "#".repeat(filled), part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar() {
        assert_eq!(bar(0, 0), format!("[{}]   0 %  0 of 0", " ".repeat(40)));
        assert_eq!(bar(5000, 10_000), format!("[{}{}]  50 %  5000 of 10000", "#".repeat(20), " ".repeat(20)));
        assert_eq!(bar(7, 7), format!("[{}] 100 %  7 of 7", "#".repeat(40)));
        assert_eq!(bar(9, 7), format!("[{}] 100 %  9 of 7", "#".repeat(40)));
    }
}
