//! A report for a terminal or a log: a table of the services, then each one's steps.

use crate::lab::drill::report::{self, Report, Service, Standing};
use crate::lab::examine::found::Verdict;
use crate::lab::probe::report::terminal::{Look, bold, paint, received};
use crate::lab::probe::report::text::{self, line, wrap};

/// Where the words about a step begin.
const INDENT: usize = 17;
/// Least that a line has, and most that is easily read.
const WIDTHS: (usize, usize) = (60, 110);

/// The report, ending with a line break.
#[must_use]
pub fn render(report: &Report, look: Look) -> String {
    let width = look.width.clamp(WIDTHS.0, WIDTHS.1);
    let mut page = String::new();
    let mut put = |line: &str| {
        page.push_str(text::logged(line).trim_end());
        page.push('\n');
    };
    let title = format!("Avouch drill {}, {}", report.drill.as_str(), report.schedule.as_str());
    put(&bold(&title, look));
    put(&format!("  vouched by   {}", line(&report.issuer)));
    let took = text::duration(report.took_ms);
    put(&format!("  began        {}, took {took}, by avouch {}", report.began.rfc3339(), line(&report.avouch)));
    for remark in report.remarks.iter().flat_map(|remark| wrap(&line(remark), width - 2)) {
        put(&format!("  {remark}"));
    }
    if report.live {
        for service in &report.services {
            let reasons: Vec<String> = service.steps.iter().map(|step| line(&step.reason)).collect();
            put(&format!("  {}: {}", line(&service.named), reasons.join("; ")));
        }
        return page;
    }
    for service in &report.services {
        put("");
        put(&bold(&line(&service.named), look));
        for remark in &service.remarks {
            for words in wrap(&line(remark), width - 2) {
                put(&format!("  {words}"));
            }
        }
        for step in service.steps.iter().filter(|step| step.verdict != Verdict::Skipped) {
            for line in about(step, look, width) {
                put(&line);
            }
        }
        for (reason, steps) in skipped(service) {
            let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            for (n, words) in
                wrap(&format!("{}: {}", line(reason), names.join(", ")), width - INDENT).iter().enumerate()
            {
                put(&format!("  {:<rest$}{words}", if n == 0 { "skipped" } else { "" }, rest = INDENT - 2));
            }
        }
    }
    put("");
    for row in table(report, look) {
        put(&row);
    }
    page
}

/// The line that says what came of one step, for whoever watches.
#[must_use]
pub fn progress(named: &str, step: &report::Step, look: Look) -> String {
    let verdict = paint(step.verdict, &format!("{:<15}", step.verdict.title()), look);
    format!("{verdict} {}  {}: {}", line(named), line(&step.name), line(&step.reason))
}

/// One that did not pass is told with what came and how to see it again.
fn about(step: &report::Step, look: Look, width: usize) -> Vec<String> {
    let verdict = paint(step.verdict, &format!("{:<15}", step.verdict.title()), look);
    if step.verdict == Verdict::Pass {
        let words = wrap(&format!("{}: {}", line(&step.name), line(&step.reason)), width - INDENT);
        let begun = |(n, words)| if n == 0 { format!("  {verdict}{words}") } else { format!("{:INDENT$}{words}", "") };
        return words.into_iter().enumerate().map(begun).collect();
    }
    let mut lines = vec![format!("  {verdict}{} ({})", line(&step.name), line(&step.level))];
    let mut said = |name: &str, words: &str| {
        for (n, words) in wrap(&line(words), width.saturating_sub(INDENT + 10)).into_iter().enumerate() {
            let name = if n == 0 { name } else { "" };
            lines.push(format!("{:INDENT$}{name:<10}{words}", ""));
        }
    };
    said("what", &step.meaning);
    said("rule", &step.section);
    said("so", &step.reason);
    if let Some(evidence) = step.evidence.last() {
        said("received", &received(evidence));
        // To be copied, and so never broken.
        lines.push(format!("{:INDENT$}{:<10}{}", "", "again", line(&evidence.curl)));
    }
    lines
}

/// Steps that were not taken, by the reason.
pub(super) fn skipped(service: &Service) -> Vec<(&str, Vec<&report::Step>)> {
    let mut reasons: Vec<(&str, Vec<&report::Step>)> = Vec::new();
    for step in service.steps.iter().filter(|step| step.verdict == Verdict::Skipped) {
        match reasons.iter_mut().find(|(reason, _)| *reason == step.reason) {
            Some((_, steps)) => steps.push(step),
            None => reasons.push((&step.reason, vec![step])),
        }
    }
    reasons
}

fn table(report: &Report, look: Look) -> Vec<String> {
    let named = |service: &Service| line(&service.named);
    let width = report.services.iter().map(|service| named(service).chars().count()).max().unwrap_or_default().max(7);
    let head = format!("{:<width$}  {:<20}  {:<13}  {:<15}  STEPS", "SERVICE", "STANDS", "NEW KEY TAKEN", "OLD KEY");
    let row = |service: &Service| {
        let like = match service.standing {
            Standing::Ready => Verdict::Pass,
            Standing::Warned => Verdict::Warning,
            Standing::NotReady => Verdict::Fail,
            Standing::Unknown => Verdict::CouldNotRun,
        };
        let counts = Verdict::ALL.into_iter().filter(|verdict| service.count(*verdict) > 0);
        let counts: Vec<String> =
            counts.map(|verdict| format!("{} {}", service.count(verdict), verdict.title())).collect();
        let stands = paint(like, &format!("{:<20}", service.standing.title()), look);
        let (new, old) = (new_key(service), old_key(service));
        format!("{:<width$}  {stands}  {new:<13}  {old:<15}  {}", named(service), counts.join(", "))
    };
    std::iter::once(head).chain(report.services.iter().map(row)).collect()
}

/// How long it took until the new key was taken.
pub(super) fn new_key(service: &Service) -> String {
    let step = service.steps.iter().find(|step| step.name == "new-key-is-fetched-and-taken");
    match step.map(|step| (step.verdict, step.measured_ms)) {
        Some((_, Some(ms))) => format!("after {}", text::duration(ms)),
        Some((Verdict::Fail | Verdict::Warning, None)) => "no".to_owned(),
        _ => "not shown".to_owned(),
    }
}

/// How long the old one was still taken: by itself where that was measured, else from when on the service had seen that it is gone.
pub(super) fn old_key(service: &Service) -> String {
    let found = |name: &str| service.steps.iter().find(|step| step.name == name);
    let steps = ["removed-key-ends-by-itself", "revoked-key-is-refused", "removed-key-is-refused"];
    let known = || steps.into_iter().filter_map(found);
    if let Some(ms) = known().find_map(|step| step.measured_ms) {
        return format!("for {}", text::duration(ms));
    }
    let taken = known().any(|step| matches!(step.verdict, Verdict::Fail | Verdict::Warning));
    if taken { "is taken still" } else { "not shown" }.to_owned()
}
