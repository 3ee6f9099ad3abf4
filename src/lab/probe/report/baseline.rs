//! Failures that are expected: a text file with the id of a check on each line, and why behind a `#`. What is in it and does not fail is told
//! as well, so that the file shrinks as a service gets better and hides nothing.

use std::fmt::Write as _;

use super::{Checked, Report, Verdict, text};
use crate::domain::spelling::probable;

/// Most bytes of a file.
pub const MAX_FILE: usize = 256 * 1024;

/// What is expected to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    entries: Vec<Entry>,
}

/// A failure that is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which check.
    pub id: String,
    /// Why, in somebody's words; may be empty.
    pub why: String,
    /// In which line of the file.
    pub line: usize,
}

/// An entry that is not so, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale<'a> {
    /// The check passes.
    Passes(&'a Entry),
    /// There is no such check; perhaps this one was meant.
    Unknown(&'a Entry, Option<String>),
    /// It is never counted.
    Policy(&'a Entry),
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for (n, content) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let (id, why) = content.split_once('#').unwrap_or((content, ""));
            let (id, why, line) = (id.trim(), why.trim(), n + 1);
            if id.is_empty() {
                continue;
            }
            if id.contains(char::is_whitespace) {
                let shown = text::clip(id, 80);
                return Err(format!("line {line}: one id of a check, and a reason behind a #; this is {shown:?}"));
            }
            if let Some(before) = entries.iter().find(|entry| entry.id == id) {
                return Err(format!("line {line}: {} is in line {} already", text::clip(id, 80), before.line));
            }
            entries.push(Entry { id: id.to_owned(), why: why.to_owned(), line });
        }
        Ok(Self { entries })
    }

    /// One that expects what falls short in a report; what an earlier one says of why stands.
    #[must_use]
    pub fn of(report: &Report, strict: bool, earlier: Option<&Self>) -> String {
        let mut file = format!(
            "# What is expected to fail at {}: the id of a check on each line, and why behind a #.\n\
             # An entry whose check passes fails the run: take it out then.\n",
            text::line(&report.target)
        );
        for check in report.checks.iter().filter(|check| check.is_counted() && check.is_short(strict)) {
            let known = earlier.and_then(|earlier| earlier.entry(&check.id)).map(|entry| entry.why.as_str());
            let why = known.filter(|why| !why.is_empty()).unwrap_or(&check.reason);
            let _ = writeln!(file, "{}  # {}", check.id, text::line(why));
        }
        file
    }

    /// What it says of a check.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// What is not as it says. A check that came to no verdict this time shows nothing of its entry.
    pub(super) fn stale(&self, report: &Report) -> Vec<Stale<'_>> {
        let found = |entry: &Entry| report.checks.iter().find(|check| check.id == entry.id);
        let judged = self.entries.iter().filter_map(|entry| match found(entry) {
            None => Some(Stale::Unknown(entry, meant(&entry.id, report))),
            Some(check) if !check.is_counted() => Some(Stale::Policy(entry)),
            Some(check) => (check.verdict == Verdict::Pass).then_some(Stale::Passes(entry)),
        });
        judged.collect()
    }

    /// Entries whose checks came to no verdict this time.
    pub(super) fn unseen<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = (&'a Entry, &'a Checked)> {
        let of = |entry: &String| report.checks.iter().find(|check| check.id == *entry);
        let found = self.entries.iter().filter_map(move |entry| Some((entry, of(&entry.id)?)));
        found.filter(|(_, check)| !matches!(check.verdict, Verdict::Pass | Verdict::Fail | Verdict::Warning))
    }
}

/// A name alone, or a section that has another number by now, is meant for the check of that name.
fn meant(id: &str, report: &Report) -> Option<String> {
    let name = id.rsplit('/').next().unwrap_or(id);
    let same = report.checks.iter().find(|check| check.name == name);
    let id_of = |check: &Checked| check.id.clone();
    same.map(id_of).or_else(|| probable(id, report.checks.iter().map(|check| check.id.as_str())).map(str::to_owned))
}

impl Stale<'_> {
    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Passes(entry) => format!("line {}: {} passes now: take it out", entry.line, text::line(&entry.id)),
            Self::Unknown(entry, meant) => {
                let hint = meant.as_ref().map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                format!("line {}: there is no check {}{hint}", entry.line, text::clip(&entry.id, 100))
            }
            Self::Policy(entry) => {
                format!("line {}: {} is never counted: take it out", entry.line, text::line(&entry.id))
            }
        }
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        match self {
            Self::Passes(entry) | Self::Unknown(entry, _) | Self::Policy(entry) => entry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, set};
    use super::*;

    #[test]
    fn a_file_says_what_is_expected_and_why() {
        let text =
            "\u{feff}# known\r\n\nrfc8725/3.1/alg-none  # until the gateway goes # soon\r\n  rfc7523/3/expired\n";
        let baseline = Baseline::parse(text).unwrap();
        let entry = baseline.entry("rfc8725/3.1/alg-none").unwrap();
        assert_eq!((entry.why.as_str(), entry.line), ("until the gateway goes # soon", 3));
        assert_eq!(baseline.entry("rfc7523/3/expired").unwrap().why, "");
        assert_eq!(Baseline::parse("").unwrap(), Baseline::default());
        for (text, expected) in [
            ("a/1/b c", "line 1: one id of a check, and a reason behind a #; this is \"a/1/b c\""),
            ("a/1/b\n\na/1/b # again", "line 3: a/1/b is in line 1 already"),
        ] {
            assert_eq!(Baseline::parse(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn what_is_out_of_date_is_told() {
        let mut report = good();
        set(&mut report, "alg-none", Verdict::Fail);
        set(&mut report, "crit-empty", Verdict::Warning);
        set(&mut report, "crit-unknown", Verdict::Void);
        let text = "rfc8725/3.1/alg-none\nrfc7515/4.1.11/crit-empty\nrfc7515/4.1.11/crit-unknown\nrfc7523/3/expired\n\
                    rfc7523/9/exp-missing\nrfc8725/3.1/alg-nome\nid-jag/4.4.1/sub-unknown\n";
        let baseline = Baseline::parse(text).unwrap();
        let told: Vec<String> = baseline.stale(&report).iter().map(Stale::sentence).collect();
        assert_eq!(
            told,
            [
                "line 4: rfc7523/3/expired passes now: take it out",
                "line 5: there is no check rfc7523/9/exp-missing; did you mean rfc7523/3/exp-missing?",
                "line 6: there is no check rfc8725/3.1/alg-nome; did you mean rfc8725/3.1/alg-none?",
                "line 7: id-jag/4.4.1/sub-unknown is never counted: take it out",
            ]
        );
        let unseen: Vec<usize> = baseline.unseen(&report).map(|(entry, _)| entry.line).collect();
        assert_eq!(unseen, [3]);
    }

    #[test]
    fn one_that_is_written_expects_what_fell_short() {
        let report = bad();
        for strict in [false, true] {
            let baseline = Baseline::parse(&Baseline::of(&report, strict, None)).unwrap();
            let short = report.checks.iter().filter(|check| check.is_counted() && check.is_short(strict));
            assert!(short.clone().all(|check| baseline.entry(&check.id).is_some()));
            assert_eq!(baseline.entries.len(), short.count());
            assert_eq!(baseline.stale(&report), []);
        }
        let earlier = Baseline::parse("rfc7515/5.2/signed-by-a-stranger # gateway").unwrap();
        let again = Baseline::parse(&Baseline::of(&report, false, Some(&earlier))).unwrap();
        assert_eq!(again.entry("rfc7515/5.2/signed-by-a-stranger").unwrap().why, "gateway");
    }
}
