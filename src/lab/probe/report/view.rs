//! A report and how it is to be read: whether recommendations count, and which failures were expected.

use super::baseline::{Baseline, Entry, Stale};
use super::{Checked, Ending, Report, text};

/// What every form of a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What was found out.
    pub report: &'a Report,
    /// Whether what a service should do counts as what it must.
    pub strict: bool,
    /// What was expected to fail.
    pub baseline: Option<&'a Baseline>,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing fell short that was not expected to.
    Fine,
    /// The service fell short, or a baseline is out of date.
    Short(String),
    /// The service could not be examined.
    Unable(String),
}

impl<'a> View<'a> {
    /// The entry of the baseline that expects this one to fail, if it fails.
    #[must_use]
    pub fn expected(&self, check: &Checked) -> Option<&'a Entry> {
        let entry = self.baseline?.entry(&check.id)?;
        (check.is_counted() && check.is_short(true)).then_some(entry)
    }

    /// Whether this one makes the run fall short.
    #[must_use]
    pub fn falls_short(&self, check: &Checked) -> bool {
        check.is_counted() && check.is_short(self.strict) && self.expected(check).is_none()
    }

    /// What the baseline expects and is not so any more.
    #[must_use]
    pub fn stale(&self) -> Vec<Stale<'a>> {
        self.baseline.map(|baseline| baseline.stale(self.report)).unwrap_or_default()
    }

    /// How the run ends, and why.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let short = self.report.checks.iter().filter(|check| self.falls_short(check)).count();
        let (stale, target) = (self.stale().len(), text::line(&self.report.target));
        let mut why = Vec::new();
        if short > 0 {
            why.push(text::counted(short, "check failed", "checks failed"));
        }
        if stale > 0 {
            why.push(text::counted(
                stale,
                "entry of the baseline is out of date",
                "entries of the baseline are out of date",
            ));
        }
        if !why.is_empty() {
            return Outcome::Short(format!("{target}: {}", why.join(", and ")));
        }
        match (self.report.ending, self.report.grade) {
            (Ending::NoControl, _) => {
                Outcome::Unable(format!("{target} took no good assertion: nothing could be shown"))
            }
            (Ending::Interrupted, _) => {
                Outcome::Unable(format!("{target}: the examination was stopped before its end"))
            }
            (Ending::Complete, None) if self.is_mostly_undecided() => {
                Outcome::Unable(format!("{target}: too many checks came to nothing"))
            }
            _ => Outcome::Fine,
        }
    }

    fn is_mostly_undecided(&self) -> bool {
        matches!(super::grade::gap(&self.report.checks), Some(super::grade::Gap::Undecided(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, set};
    use super::super::{Verdict, grade};
    use super::*;

    fn outcome(report: &Report, strict: bool, baseline: Option<&Baseline>) -> Outcome {
        View { report, strict, baseline }.outcome()
    }

    #[test]
    fn what_a_run_ends_with() {
        assert_eq!(outcome(&good(), true, None), Outcome::Fine);
        assert!(matches!(outcome(&bad(), false, None), Outcome::Short(why) if why.contains("checks failed")));
        let mut warned = good();
        set(&mut warned, "too-long", Verdict::Warning);
        assert_eq!(outcome(&warned, false, None), Outcome::Fine);
        assert!(matches!(outcome(&warned, true, None), Outcome::Short(why) if why.ends_with(": 1 check failed")));
        // What each service decides for itself makes nothing of it fall short.
        let mut unusual = good();
        set(&mut unusual, "sub-unknown", Verdict::Fail);
        assert_eq!(outcome(&unusual, true, None), Outcome::Fine);
    }

    #[test]
    fn a_run_that_showed_nothing_is_no_success() {
        for ending in [Ending::NoControl, Ending::Interrupted] {
            let mut report = good();
            report.ending = ending;
            assert!(matches!(outcome(&report, false, None), Outcome::Unable(_)), "{ending:?}");
        }
        let mut report = good();
        report.checks.iter_mut().for_each(|check| check.verdict = Verdict::CouldNotRun);
        report.grade = grade::grade(&report.checks, report.ending);
        assert!(matches!(outcome(&report, false, None), Outcome::Unable(_)));
        // Metadata alone were asked for, and read.
        report.ending = Ending::Passive;
        assert_eq!(outcome(&report, false, None), Outcome::Fine);
    }

    #[test]
    fn what_was_expected_does_not_fall_short_and_what_is_out_of_date_does() {
        let mut report = good();
        set(&mut report, "alg-none", Verdict::Fail);
        let id = report.checks.iter().find(|check| check.name == "alg-none").unwrap().id.clone();
        let baseline = Baseline::parse(&format!("{id} # known")).unwrap();
        assert_eq!(outcome(&report, false, Some(&baseline)), Outcome::Fine);
        set(&mut report, "alg-none", Verdict::Pass);
        let why = outcome(&report, false, Some(&baseline));
        assert!(matches!(why, Outcome::Short(why) if why.contains("1 entry of the baseline is out of date")));
    }
}
