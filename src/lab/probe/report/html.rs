//! A report as one page that people show each other: a single file, nothing fetched, nothing run, everything in it escaped.

use askama::Template;

use super::exchange::{Exchange, class};
use super::text::{self, block, line};
use super::view::View;
use super::{Checked, Ending, Evidence, Group, Report, Verdict};
use crate::lab::pages::Frame;

/// Thousandths, of which the bar is made.
const WHOLE: usize = 1000;

#[derive(Template)]
#[template(path = "probe.html")]
struct Page {
    frame: Frame,
    target: String,
    grade: &'static str,
    grade_class: String,
    grade_words: String,
    grade_caption: &'static str,
    advice: String,
    share: Vec<Share>,
    counts: Vec<Count>,
    facts: Vec<Fact>,
    remarks: Vec<String>,
    stale: Vec<String>,
    understood: Vec<Understood>,
    /// Where that is all there is.
    understood_open: bool,
    choices: Vec<Choice>,
    groups: Vec<Shown>,
}

struct Share {
    class: &'static str,
    x: usize,
    width: usize,
}

struct Count {
    class: &'static str,
    number: usize,
    title: &'static str,
}

struct Fact {
    name: &'static str,
    value: String,
}

struct Understood {
    name: String,
    value: String,
    why: String,
}

struct Choice {
    id: &'static str,
    title: &'static str,
    count: usize,
    chosen: bool,
}

struct Shown {
    title: &'static str,
    counts: String,
    checks: Vec<Row>,
}

struct Row {
    id: String,
    class: &'static str,
    verdict: &'static str,
    level: String,
    meaning: String,
    open: bool,
    baseline: Option<String>,
    matters: String,
    section: String,
    link: Option<String>,
    expected: String,
    received: Option<String>,
    reason: String,
    evidence: Vec<Exchange>,
}

/// The page.
#[must_use]
pub fn render(view: &View<'_>) -> String {
    let report = view.report;
    let grade = report.grade.map_or("–", super::Grade::letter);
    let page = Page {
        frame: Frame {
            title: format!("{} - Avouch probe", line(&report.target)),
            what: "Probe of a relying service",
            avouch: line(&report.avouch),
            began: report.began.rfc3339(),
        },
        target: line(&report.target),
        grade,
        grade_class: report
            .grade
            .map_or("grade-none".to_owned(), |grade| format!("grade-{}", grade.letter().to_lowercase())),
        grade_words: report.grade.map_or("no grade".to_owned(), |grade| format!("grade {}", grade.letter())),
        grade_caption: if report.grade.is_some() { "grade" } else { "no grade" },
        advice: block(&report.advice),
        share: share(report),
        counts: Verdict::ALL
            .into_iter()
            .map(|verdict| Count { class: class(verdict), number: report.count(verdict), title: verdict.title() })
            .filter(|count| count.number > 0)
            .collect(),
        facts: facts(report),
        remarks: report.remarks.iter().map(|remark| line(remark)).collect(),
        stale: view.stale().iter().map(super::baseline::Stale::sentence).collect(),
        understood: report.understood.iter().map(understood).collect(),
        understood_open: report.ending == Ending::Passive,
        choices: choices(report),
        groups: groups(view),
    };
    page.render().unwrap_or_default()
}

fn share(report: &Report) -> Vec<Share> {
    let all = report.checks.len().max(1);
    let (mut shares, mut before) = (Vec::new(), 0);
    for verdict in Verdict::ALL {
        let count = report.count(verdict);
        let (x, end) = (before * WHOLE / all, (before + count) * WHOLE / all);
        if count > 0 {
            shares.push(Share { class: class(verdict), x, width: end - x });
        }
        before += count;
    }
    shares
}

fn facts(report: &Report) -> Vec<Fact> {
    let ending = match report.ending {
        Ending::Complete => "each check came to its verdict",
        Ending::Interrupted => "stopped before its end",
        Ending::NoControl => "no good assertion was taken",
        Ending::Passive => "metadata alone were read",
    };
    let speaks = report.speaks();
    let known = [
        ("Known as", &report.audience),
        ("Speaks", &speaks),
        ("Vouched for by", &report.issuer),
        ("User", &report.user),
    ];
    let mut facts: Vec<Fact> = known
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| Fact { name, value: line(value) }))
        .collect();
    facts.push(Fact { name: "When", value: format!("{}, {}", report.began.rfc3339(), text::duration(report.took_ms)) });
    facts.push(Fact { name: "Ending", value: ending.to_owned() });
    facts
}

fn understood(of: &super::Line) -> Understood {
    Understood { name: line(&of.name), value: line(&of.value), why: line(&of.why) }
}

/// What did not pass is shown first, where there is any.
fn choices(report: &Report) -> Vec<Choice> {
    let count = |verdicts: &[Verdict]| verdicts.iter().map(|verdict| report.count(*verdict)).sum::<usize>();
    let open = count(&[Verdict::Fail, Verdict::Warning, Verdict::Void, Verdict::CouldNotRun]);
    let choice = |id, title, count, chosen| Choice { id, title, count, chosen };
    vec![
        choice("open", "Not passed", open, open > 0),
        choice("pass", "Passed", count(&[Verdict::Pass]), false),
        choice("skipped", "Skipped", count(&[Verdict::Skipped]), false),
        choice("all", "All", report.checks.len(), open == 0),
    ]
}

fn groups(view: &View<'_>) -> Vec<Shown> {
    let of = |group: Group| {
        let checks: Vec<&Checked> = view.report.checks.iter().filter(|check| check.group == group).collect();
        let count = |verdict: Verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let counts = Verdict::ALL.into_iter().map(|verdict| (count(verdict), verdict.title()));
        let counts: Vec<String> = counts.filter(|(n, _)| *n > 0).map(|(n, title)| format!("{n} {title}")).collect();
        // The worst first.
        let place = |check: &&Checked| Verdict::ALL.iter().position(|verdict| *verdict == check.verdict);
        let mut sorted = checks.clone();
        sorted.sort_by_key(place);
        Shown {
            title: group.title(),
            counts: counts.join(", "),
            checks: sorted.into_iter().map(|check| row(view, check)).collect(),
        }
    };
    Group::ALL.into_iter().map(of).filter(|shown| !shown.checks.is_empty()).collect()
}

fn row(view: &View<'_>, check: &Checked) -> Row {
    let decisive = check.decisive();
    let is_decisive = |evidence: &Evidence| decisive.is_some_and(|decisive| std::ptr::eq(decisive, evidence));
    let counted = if check.is_counted() { "" } else { ", not counted" };
    Row {
        id: line(&check.id),
        class: class(check.verdict),
        verdict: check.verdict.title(),
        level: format!("{}{counted}", line(&check.level)),
        meaning: line(&check.meaning),
        open: check.verdict == Verdict::Fail,
        baseline: view
            .expected(check)
            .map(|entry| if entry.why.is_empty() { "expected to fail".into() } else { line(&entry.why) }),
        matters: line(&check.matters),
        section: line(&check.section),
        // A report may come from anywhere; an address that runs something is none.
        link: check.link.as_ref().filter(|link| link.starts_with("https://")).map(|link| line(link)),
        expected: line(&check.expected),
        received: decisive.map(super::terminal::received),
        reason: line(&check.reason),
        evidence: check.evidence.iter().map(|evidence| Exchange::of(evidence, is_decisive(evidence))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::baseline::Baseline;
    use super::super::testing::{HOSTILE, bad, good, hostile};
    use super::*;

    fn rendered(report: &Report) -> String {
        render(&View { report, strict: false, baseline: None })
    }

    #[test]
    fn a_page_is_whole_and_fetches_nothing() {
        for report in [good(), bad(), hostile()] {
            let page = rendered(&report);
            assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
            assert!(page.contains("default-src 'none'; style-src 'sha256-"));
            for outside in
                ["<script", "<img", "<iframe", "<form", "<object", "@import", "url(", " style=", "javascript:"]
            {
                assert!(!page.contains(outside), "{outside}");
            }
            let opened = page.matches("<details").count();
            assert_eq!(opened, page.matches("</details>").count());
        }
    }

    #[test]
    fn everything_that_is_known_is_on_it() {
        let page = rendered(&bad());
        for words in [
            "<b>F</b>",
            "https://www.rfc-editor.org/rfc/rfc7515#section-5.2",
            "Anybody could write a token in any user&#39;s name",
            "400 invalid_signature",
            "Answer after 12 ms: 200",
            "No answer in 12 ms: no answer within 10 s",
            "&quot;typ&#34;",
            "curl -s https://notes.example/agent/auth",
            "id=\"show-open\" checked",
        ] {
            let words = words.replace("&quot;", "&#34;");
            assert!(page.contains(&words), "{words}");
        }
        for check in &bad().checks {
            assert!(page.contains(&format!("id=\"{}\"", check.id)), "{}", check.id);
        }
        assert!(rendered(&good()).contains("id=\"show-all\" checked"));
    }

    #[test]
    fn what_a_service_sends_is_text() {
        let page = rendered(&hostile());
        assert!(page.contains("&#60;script&#62;") && page.contains("\\u{202e}") && page.contains("\\u{1b}[2J"));
        assert!(!page.contains('\u{202e}') && page.chars().all(|c| c == '\n' || !c.is_control()));
        let mut report = bad();
        report.checks[0].link = Some("javascript:alert(1)".into());
        report.target = HOSTILE.into();
        let page = rendered(&report);
        assert!(!page.contains("javascript:") && !page.contains("<script"));
    }

    #[test]
    fn a_baseline_is_seen() {
        let report = bad();
        let baseline = Baseline::parse("rfc7515/5.2/signed-by-a-stranger # gateway\nrfc7523/3/expired").unwrap();
        let page = render(&View { report: &report, strict: false, baseline: Some(&baseline) });
        assert!(page.contains("In the baseline: <bdi>gateway</bdi>"));
        assert!(page.contains("line 2: rfc7523/3/expired passes now: take it out"));
    }
}
