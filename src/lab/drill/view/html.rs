//! A report as one page: a single file, nothing fetched, nothing run, everything in it escaped.

use askama::Template;

use super::line::{Line, draw, sentence};
use super::terminal::skipped;
use crate::lab::drill::report::{self, Report, Service, Standing};
use crate::lab::examine::found::Verdict;
use crate::lab::flaws::Dialect;
use crate::lab::pages::Frame;
use crate::lab::probe::report::exchange::{Exchange, class};
use crate::lab::probe::report::terminal::received;
use crate::lab::probe::report::text::{self, line};

#[derive(Template)]
#[template(path = "drill.html")]
struct Page {
    frame: Frame,
    title: String,
    facts: Vec<(&'static str, String)>,
    remarks: Vec<String>,
    live: bool,
    services: Vec<Shown>,
}

struct Shown {
    id: String,
    named: String,
    class: &'static str,
    standing: &'static str,
    counts: String,
    new_key: String,
    old_key: String,
    facts: Vec<(&'static str, String)>,
    remarks: Vec<String>,
    line: Option<Line>,
    moments: Vec<(String, String)>,
    steps: Vec<Row>,
    left_out: Vec<LeftOut>,
}

struct Row {
    place: String,
    id: String,
    class: &'static str,
    verdict: &'static str,
    level: String,
    meaning: String,
    open: bool,
    section: String,
    reason: String,
    at: Option<String>,
    measured: Option<String>,
    received: Option<String>,
    evidence: Vec<Exchange>,
}

/// Steps that were not taken, for one and the same reason.
struct LeftOut {
    why: String,
    steps: Vec<(String, String)>,
}

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let what = report.drill.as_str();
    let ending = match report.ending {
        report::Ending::Complete => "each step came to its verdict",
        report::Ending::Interrupted => "stopped before its end",
    };
    let page = Page {
        frame: Frame {
            title: format!("{what} - Avouch drill"),
            what: "Drill with relying services",
            avouch: line(&report.avouch),
            began: report.began.rfc3339(),
        },
        title: format!("Drill: {what}"),
        facts: vec![
            ("Schedule", report.schedule.as_str().to_owned()),
            ("Vouched for by", line(&report.issuer)),
            ("When", format!("{}, {}", report.began.rfc3339(), text::duration(report.took_ms))),
            ("Ending", ending.to_owned()),
        ],
        remarks: report.remarks.iter().map(|remark| line(remark)).collect(),
        live: report.live,
        services: report.services.iter().enumerate().map(|(n, service)| shown(n, service)).collect(),
    };
    page.render().unwrap_or_default()
}

fn shown(n: usize, service: &Service) -> Shown {
    let speaks = service.dialect.as_deref().map(|name| Dialect::title_of(name).to_owned());
    let taken = service.steps.iter().filter(|step| step.verdict != Verdict::Skipped);
    let known =
        [("Known as", &service.audience), ("Speaks", &speaks), ("Vouched for by", &Some(service.issuer.clone()))];
    let count = |verdict: &Verdict| (service.count(*verdict), verdict.title());
    let counts = Verdict::ALL.iter().map(count).filter(|(n, _)| *n > 0).map(|(n, title)| format!("{n} {title}"));
    Shown {
        id: format!("service-{}", n + 1),
        named: line(&service.named),
        class: standing_class(service.standing),
        standing: service.standing.title(),
        counts: counts.collect::<Vec<_>>().join(", "),
        new_key: super::terminal::new_key(service),
        old_key: super::terminal::old_key(service),
        facts: known.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, line(value)))).collect(),
        remarks: service.remarks.iter().map(|remark| line(remark)).collect(),
        line: draw(service),
        moments: service.moments.iter().map(|moment| (text::duration(moment.at_ms), line(&sentence(moment)))).collect(),
        steps: taken.map(|step| row(n, step)).collect(),
        left_out: skipped(service).into_iter().map(left_out).collect(),
    }
}

fn standing_class(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "pass",
        Standing::Warned => "warning",
        Standing::NotReady => "fail",
        Standing::Unknown => "could-not-run",
    }
}

fn left_out((why, steps): (&str, Vec<&report::Step>)) -> LeftOut {
    LeftOut { why: line(why), steps: steps.iter().map(|step| (line(&step.id), line(&step.meaning))).collect() }
}

fn row(service: usize, step: &report::Step) -> Row {
    Row {
        place: format!("service-{}/{}", service + 1, line(&step.id)),
        id: line(&step.id),
        class: class(step.verdict),
        verdict: step.verdict.title(),
        level: line(&step.level),
        meaning: line(&step.meaning),
        open: matches!(step.verdict, Verdict::Fail | Verdict::Warning),
        section: line(&step.section),
        reason: line(&step.reason),
        at: step.at_ms.map(text::duration),
        measured: step.measured_ms.map(text::duration),
        received: step.evidence.last().map(received),
        evidence: step.evidence.iter().map(|evidence| Exchange::of(evidence, false)).collect(),
    }
}
