//! A report as JUnit XML. Nothing is green that was not shown: what came to nothing is an error, what was not tried or is only recommended is
//! skipped with the reason.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::terminal::received;
use super::text::{block, line};
use super::view::View;
use super::{Checked, Group, Verdict};

/// The file.
#[must_use]
pub fn render(view: &View<'_>) -> String {
    let report = view.report;
    let mut file = quick_junit::Report::new(format!("avouch probe {}", line(&report.target)));
    file.set_time(Duration::from_millis(report.took_ms));
    if let Some(began) = DateTime::from_timestamp(report.began.0, 0) {
        file.set_timestamp(began);
    }
    for group in Group::ALL {
        let mut checks = report.checks.iter().filter(|check| check.group == group).peekable();
        if checks.peek().is_some() {
            let mut suite = TestSuite::new(group.title());
            suite.add_test_cases(checks.map(|check| case(view, check)));
            file.add_test_suite(suite);
        }
    }
    let baseline = baseline(view);
    if baseline.tests > 0 {
        file.add_test_suite(baseline);
    }
    if let Some(suite) = ending(view) {
        file.add_test_suite(suite);
    }
    file.to_string().unwrap_or_default()
}

fn case(view: &View<'_>, check: &Checked) -> TestCase {
    let mut case = TestCase::new(line(&check.id), status(view, check));
    case.set_classname(format!("avouch.probe.{}", word(check.group)));
    case.set_time(Duration::from_millis(check.evidence.iter().map(|evidence| evidence.took_ms).sum()));
    case.add_property(Property::new("level", line(&check.level)));
    case.add_property(Property::new("section", line(&check.section)));
    case
}

fn status(view: &View<'_>, check: &Checked) -> TestCaseStatus {
    let reason = line(&check.reason);
    let (mut status, message) = match check.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        _ if view.falls_short(check) => (failure(NonSuccessKind::Failure, &check.level), reason),
        Verdict::Void | Verdict::CouldNotRun if check.is_counted() => {
            let title = check.verdict.title();
            (failure(NonSuccessKind::Error, title), format!("{title}: {reason}"))
        }
        verdict => {
            let why = match view.expected(check) {
                Some(entry) if entry.why.is_empty() => "expected to fail: ".to_owned(),
                Some(entry) => format!("expected to fail ({}): ", line(&entry.why)),
                None if verdict == Verdict::Skipped => String::new(),
                None if !check.is_counted() => format!("{} (never counted): ", verdict.title()),
                None => format!("{}: ", verdict.title()),
            };
            (TestCaseStatus::skipped(), format!("{why}{reason}"))
        }
    };
    status.set_message(message);
    if check.verdict != Verdict::Skipped {
        status.set_description(details(check));
    }
    status
}

fn failure(kind: NonSuccessKind, kind_of_rule: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(line(kind_of_rule));
    status
}

fn details(check: &Checked) -> String {
    let mut text = format!("{}\nrule: {}", line(&check.meaning), line(&check.section));
    let _ = check.link.as_ref().map(|link| write!(text, ", {}", line(link)));
    let _ = write!(text, "\nwhy it matters: {}\nexpected: {}", line(&check.matters), line(&check.expected));
    if let Some(evidence) = check.decisive() {
        let _ = write!(text, "\nreceived: {}\nagain: {}", received(evidence), block(&evidence.curl));
    }
    text
}

/// What a baseline expects in vain has no check that could fail for it.
fn baseline(view: &View<'_>) -> TestSuite {
    let mut suite = TestSuite::new("Baseline");
    for stale in view.stale() {
        let mut status = failure(NonSuccessKind::Failure, "out of date");
        status.set_message(stale.sentence());
        let mut case = TestCase::new(line(&stale.entry().id), status);
        case.set_classname("avouch.probe.baseline");
        suite.add_test_case(case);
    }
    suite
}

/// A run that was not to its end, or that showed nothing, is not green either.
fn ending(view: &View<'_>) -> Option<TestSuite> {
    let super::view::Outcome::Unable(why) = view.outcome() else { return None };
    let mut status = failure(NonSuccessKind::Error, "could not run");
    status.set_message(why);
    let mut case = TestCase::new("the examination", status);
    case.set_classname("avouch.probe");
    let mut suite = TestSuite::new("Examination");
    suite.add_test_case(case);
    Some(suite)
}

/// As JSON names it.
fn word(group: Group) -> String {
    serde_json::to_value(group).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::baseline::Baseline;
    use super::super::testing::{bad, good, hostile, set};
    use super::super::{Ending, Report};
    use super::*;

    fn read(report: &Report, strict: bool, baseline: Option<&Baseline>) -> quick_junit::Report {
        let text = render(&View { report, strict, baseline });
        quick_junit::Report::deserialize_from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn case<'a>(file: &'a quick_junit::Report, name: &str) -> &'a TestCase {
        let cases = file.test_suites.iter().flat_map(|suite| &suite.test_cases);
        let mut found = cases.filter(|case| case.name.as_str().ends_with(&format!("/{name}")));
        let case = found.next().unwrap_or_else(|| panic!("no case {name}"));
        assert!(found.next().is_none(), "{name} twice");
        case
    }

    /// What it is to a CI, and what it says.
    fn told(case: &TestCase) -> (&'static str, String) {
        match &case.status {
            TestCaseStatus::Success { .. } => ("pass", String::new()),
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, message, .. } => {
                ("failure", text(message.as_ref()))
            }
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, message, .. } => {
                ("error", text(message.as_ref()))
            }
            TestCaseStatus::Skipped { message, .. } => ("skipped", text(message.as_ref())),
        }
    }

    fn text(message: Option<&quick_junit::XmlString>) -> String {
        message.map(|message| message.as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn nothing_is_green_that_was_not_shown() {
        let file = read(&bad(), false, None);
        let report = bad();
        assert_eq!(file.tests, report.checks.len());
        for (name, kind, words) in [
            ("alg-none", "pass", ""),
            ("signed-by-a-stranger", "failure", "it was taken, as a good one is"),
            ("too-long", "skipped", "warning: it was taken"),
            ("sub-unknown", "skipped", "warning (never counted): it was taken"),
            ("jwks-hangs", "error", "could not run: there was no answer in 10 s"),
            ("cnf-unknown", "error", "void: the good one that came after it was refused"),
            ("cimd-in-html", "skipped", "the service fetches no documents of clients"),
        ] {
            let told = told(case(&file, name));
            assert_eq!(told.0, kind, "{name}");
            assert!(told.1.starts_with(words), "{name}: {}", told.1);
        }
        assert_eq!(told(case(&read(&report, true, None), "too-long")).0, "failure", "strict");
        let passed = file.test_suites.iter().flat_map(|suite| &suite.test_cases);
        let passed = passed.filter(|case| matches!(case.status, TestCaseStatus::Success { .. })).count();
        assert_eq!(passed, report.count(Verdict::Pass));
        assert_eq!((file.failures, file.errors), (6, 2));
    }

    #[test]
    fn a_run_that_showed_nothing_is_an_error() {
        let mut report = good();
        for ending in [Ending::NoControl, Ending::Interrupted] {
            report.ending = ending;
            assert_eq!(read(&report, false, None).errors, 1, "{ending:?}");
        }
        assert_eq!(read(&good(), true, None).errors, 0);
    }

    #[test]
    fn what_is_expected_is_skipped_and_what_is_out_of_date_fails() {
        let baseline = Baseline::parse("rfc7515/5.2/signed-by-a-stranger # gateway\nrfc8725/3.1/alg-none\n").unwrap();
        let file = read(&bad(), false, Some(&baseline));
        let (kind, message) = told(case(&file, "signed-by-a-stranger"));
        assert_eq!((kind, message.as_str()), ("skipped", "expected to fail (gateway): it was taken, as a good one is"));
        let suite = file.test_suites.iter().find(|suite| suite.name.as_str() == "Baseline").unwrap();
        let (kind, message) = told(&suite.test_cases[0]);
        assert_eq!((kind, message.as_str()), ("failure", "line 2: rfc8725/3.1/alg-none passes now: take it out"));
    }

    #[test]
    fn what_a_service_sends_stays_in_its_place() {
        let mut report = hostile();
        set(&mut report, "alg-none", Verdict::Fail);
        report.checks[0].id = super::super::testing::HOSTILE.into();
        let text = render(&View { report: &report, strict: false, baseline: None });
        assert!(!text.contains("<script") && !text.contains('\u{202e}') && !text.contains("]]>"), "escaped");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert_eq!(read(&report, false, None).tests, report.checks.len());
    }
}
