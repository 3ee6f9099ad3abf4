//! Two reports of one service: what got better, and what got worse.

use std::fmt::Write as _;

use super::terminal::{Look, bold, paint};
use super::text::{self, line};
use super::{Checked, Report, Verdict};

/// What differs between two reports.
#[derive(Debug)]
pub struct Comparison<'a> {
    old: &'a Report,
    new: &'a Report,
    /// The verdict is better, among those that say something.
    pub better: Vec<Change<'a>>,
    /// The verdict is worse.
    pub worse: Vec<Change<'a>>,
    /// One of the two says nothing: skipped, void or not run.
    pub unclear: Vec<Change<'a>>,
    /// Only the new one has it.
    pub fresh: Vec<&'a Checked>,
    /// Only the old one had it.
    pub gone: Vec<&'a Checked>,
}

/// A check that came to another verdict.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// As it was.
    pub old: &'a Checked,
    /// As it is.
    pub new: &'a Checked,
}

/// Compares them by the ids of their checks.
#[must_use]
pub fn compare<'a>(old: &'a Report, new: &'a Report) -> Comparison<'a> {
    let missing = |check: &Checked, report: &Report| !report.checks.iter().any(|other| other.id == check.id);
    let mut found = Comparison {
        old,
        new,
        better: vec![],
        worse: vec![],
        unclear: vec![],
        fresh: new.checks.iter().filter(|check| missing(check, old)).collect(),
        gone: old.checks.iter().filter(|check| missing(check, new)).collect(),
    };
    for check in &new.checks {
        let Some(before) = old.checks.iter().find(|before| before.id == check.id) else { continue };
        let change = Change { old: before, new: check };
        match (rank(before.verdict), rank(check.verdict)) {
            _ if before.verdict == check.verdict => {}
            (Some(before), Some(after)) if after > before => found.worse.push(change),
            (Some(_), Some(_)) => found.better.push(change),
            _ => found.unclear.push(change),
        }
    }
    found
}

/// How bad a verdict is that says something.
fn rank(verdict: Verdict) -> Option<u8> {
    match verdict {
        Verdict::Pass => Some(0),
        Verdict::Warning => Some(1),
        Verdict::Fail => Some(2),
        Verdict::Skipped | Verdict::Void | Verdict::CouldNotRun => None,
    }
}

impl Comparison<'_> {
    /// Whether something that counts got worse, or was not known to fail before.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        let failed = |change: &&Change<'_>| change.new.is_counted() && change.new.verdict == Verdict::Fail;
        self.worse.iter().any(|change| change.new.is_counted()) || self.unclear.iter().any(|change| failed(&change))
    }

    /// For a terminal, ending with a line break.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        let letter = |report: &Report| report.grade.map_or("none", super::Grade::letter);
        let (old, new) = (self.old, self.new);
        let _ = writeln!(out, "{}", bold(&format!("Avouch probe of {}", line(&new.target)), look));
        if old.target != new.target {
            let _ = writeln!(out, "  the old report is of another service: {}", line(&old.target));
        }
        let _ = writeln!(out, "  old  {}, grade {}", old.began.rfc3339(), letter(old));
        let _ = writeln!(out, "  new  {}, grade {}", new.began.rfc3339(), letter(new));
        for (title, changes) in
            [("Worse", &self.worse), ("Better", &self.better), ("Cannot be compared", &self.unclear)]
        {
            section(&mut out, title, changes.len(), look);
            for Change { old, new } in changes {
                let verdict = paint(new.verdict, new.verdict.title(), look);
                let counted = if new.is_counted() { "" } else { " (never counted)" };
                let _ = writeln!(out, "  {}: {} -> {verdict}{counted}", line(&new.id), old.verdict.title());
                if new.verdict != Verdict::Pass {
                    let _ = writeln!(out, "    {}", text::clip(&new.reason, 200));
                }
            }
        }
        for (title, checks) in [("New", &self.fresh), ("Gone", &self.gone)] {
            section(&mut out, title, checks.len(), look);
            for check in checks {
                let _ = writeln!(out, "  {}: {}", line(&check.id), paint(check.verdict, check.verdict.title(), look));
            }
        }
        let differs = [&self.worse, &self.better, &self.unclear].iter().map(|changes| changes.len()).sum::<usize>();
        let same = new.checks.len() - differs - self.fresh.len();
        let _ = writeln!(out, "\n{} as before", text::counted(same, "check is", "checks are"));
        out.lines().map(|line| text::logged(line) + "\n").collect()
    }
}

fn section(out: &mut String, title: &str, count: usize, look: Look) {
    if count > 0 {
        let _ = writeln!(out, "\n{}", bold(&format!("{title} ({count})"), look));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, hostile, set};
    use super::*;

    #[test]
    fn worse_is_what_fails_now() {
        let (good, bad) = (good(), bad());
        let found = compare(&good, &bad);
        assert!(found.is_worse());
        assert_eq!((found.worse.len(), found.better.len()), (9, 0));
        let found = compare(&bad, &good);
        assert!(!found.is_worse());
        assert_eq!((found.worse.len(), found.better.len()), (0, 9));
        assert!(!found.unclear.is_empty(), "what was skipped then");
        assert!(!compare(&bad, &bad).is_worse());
    }

    #[test]
    fn policy_and_silence_make_nothing_worse_but_a_failure_out_of_silence_does() {
        let old = good();
        let mut new = good();
        set(&mut new, "sub-unknown", Verdict::Fail);
        set(&mut new, "alg-none", Verdict::CouldNotRun);
        assert!(!compare(&old, &new).is_worse());
        let mut silent = good();
        set(&mut silent, "alg-none", Verdict::Void);
        set(&mut new, "alg-none", Verdict::Fail);
        assert!(compare(&silent, &new).is_worse());
    }

    #[test]
    fn what_is_new_and_gone_is_told_by_name() {
        let (old, mut new) = (bad(), hostile());
        let gone = new.checks.remove(0).id;
        new.checks[0].id = "rfc1/1/\u{1b}[2Jnew".into();
        set(&mut new, "jti-replayed", Verdict::Pass);
        set(&mut new, "alg-none", Verdict::Fail);
        let failed = new.checks.iter_mut().find(|check| check.name == "alg-none").unwrap();
        failed.reason = "::error::owned".into();
        let found = compare(&old, &new);
        let text = found.render(Look::default());
        assert_eq!((found.fresh.len(), found.gone.len()), (1, 2));
        assert!(text.contains(&format!("  {gone}: ")) && text.contains("rfc1/1/\\u{1b}[2Jnew"), "{text}");
        assert!(text.contains("Better (1)\n  auth.md/replay-protection/jti-replayed: fail -> pass\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(text.contains("\n    :\\u{3a}error::owned\n"), "{text}");
    }
}
