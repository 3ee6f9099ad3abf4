//! A report as JUnit XML: a suite for each service. Nothing is green that was not shown.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::{Outcome, outcome};
use crate::lab::drill::report::{Report, Service, Standing, Step};
use crate::lab::examine::found::Verdict;
use crate::lab::probe::report::terminal::received;
use crate::lab::probe::report::text::{block, line};

/// The file; `strict` lets what a service should do count as what it must.
#[must_use]
pub fn render(report: &Report, strict: bool) -> String {
    let mut file = quick_junit::Report::new(format!("avouch drill {}", report.drill.as_str()));
    file.set_time(Duration::from_millis(report.took_ms));
    if let Some(began) = DateTime::from_timestamp(report.began.0, 0) {
        file.set_timestamp(began);
    }
    for service in &report.services {
        let mut suite = TestSuite::new(line(&service.named));
        suite.add_test_cases(service.steps.iter().map(|step| case(report, step, strict)));
        if let Some(case) = ending(report, service) {
            suite.add_test_case(case);
        }
        file.add_test_suite(suite);
    }
    file.to_string().unwrap_or_default()
}

fn case(report: &Report, step: &Step, strict: bool) -> TestCase {
    let mut case = TestCase::new(line(&step.id), status(step, strict));
    case.set_classname(format!("avouch.drill.{}", report.drill.as_str()));
    case.set_time(Duration::from_millis(step.evidence.iter().map(|evidence| evidence.took_ms).sum()));
    case.add_property(Property::new("level", line(&step.level)));
    case.add_property(Property::new("section", line(&step.section)));
    if let Some(ms) = step.measured_ms {
        case.add_property(Property::new("measured_ms", ms.to_string()));
    }
    case
}

fn status(step: &Step, strict: bool) -> TestCaseStatus {
    let reason = line(&step.reason);
    let kind = match step.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail => Some(NonSuccessKind::Failure),
        Verdict::Warning if strict => Some(NonSuccessKind::Failure),
        Verdict::Void | Verdict::CouldNotRun => Some(NonSuccessKind::Error),
        Verdict::Warning | Verdict::Skipped => None,
    };
    let mut status = kind.map_or_else(TestCaseStatus::skipped, TestCaseStatus::non_success);
    if kind.is_some() {
        status.set_type(line(&step.level));
    }
    let title = if step.verdict == Verdict::Skipped { String::new() } else { format!("{}: ", step.verdict.title()) };
    status.set_message(format!("{title}{reason}"));
    if step.verdict != Verdict::Skipped {
        let mut text = format!("{}\nrule: {}", line(&step.meaning), line(&step.section));
        if let Some(evidence) = step.evidence.last() {
            let _ = write!(text, "\nreceived: {}\nagain: {}", received(evidence), block(&evidence.curl));
        }
        status.set_description(text);
    }
    status
}

/// A service of which nothing was shown, or a run that was not to its end, is not green either.
fn ending(report: &Report, service: &Service) -> Option<TestCase> {
    let Outcome::Unable(why) = outcome(report, false) else { return None };
    if service.standing != Standing::Unknown {
        return None;
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(service.remarks.first().map_or(why, |remark| line(remark)));
    let mut case = TestCase::new("the drill", status);
    case.set_classname("avouch.drill");
    Some(case)
}
