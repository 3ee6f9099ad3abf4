//! A report for a terminal or a log: groups with counts, what did not pass in detail, the grade and the advice last.

use std::fmt::Write as _;

use super::text::{self, chop, clip, line, logged, wrap};
use super::view::View;
use super::{Checked, Evidence, Group, Report, Verdict};

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether in colour.
    pub colour: bool,
    /// Characters on a line; what is to be copied is never broken.
    pub width: usize,
}

/// Least that a line has, and most that is easily read.
const WIDTHS: (usize, usize) = (40, 110);
/// Characters of an answer.
const ANSWER: usize = 300;
/// So many names of those that were skipped for one reason.
const SKIPPED: usize = 6;
/// Where the words about a check begin.
const INDENT: usize = 15;

impl Default for Look {
    fn default() -> Self {
        Self { colour: false, width: 80 }
    }
}

/// The report, ending with a line break.
#[must_use]
pub fn render(view: &View<'_>, look: Look) -> String {
    let width = look.width.clamp(WIDTHS.0, WIDTHS.1);
    let mut page = Page { text: String::new(), look: Look { width, ..look } };
    page.head(view.report);
    for group in Group::ALL {
        let checks: Vec<&Checked> = view.report.checks.iter().filter(|check| check.group == group).collect();
        if !checks.is_empty() {
            page.group(view, group, &checks);
        }
    }
    page.summary(view);
    page.text
}

/// The line that says what came of one check, for whoever watches.
#[must_use]
pub fn progress(check: &Checked, look: Look) -> String {
    format!("{:<9} {}", paint(check.verdict, &mark(check.verdict), look), line(&check.id))
}

struct Page {
    text: String,
    look: Look,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(logged(text).trim_end());
        self.text.push('\n');
    }

    /// A name and its words, in the column of words.
    fn said(&mut self, indent: usize, name: &str, words: &str) {
        self.listed(indent, name, wrap(&line(words), self.look.width.saturating_sub(INDENT)));
    }

    fn listed(&mut self, indent: usize, name: &str, lines: Vec<String>) {
        let (above, mut name) = if name.chars().count() + indent < INDENT { ("", name) } else { (name, "") };
        if !above.is_empty() {
            self.line(&format!("{:indent$}{above}", ""));
        }
        for words in lines {
            self.line(&format!("{:indent$}{name:<rest$}{words}", "", rest = INDENT - indent));
            name = "";
        }
    }

    fn head(&mut self, report: &Report) {
        self.line(&bold(&format!("Avouch probe of {}", line(&report.target)), self.look));
        let known = [
            ("known as", &report.audience),
            ("speaks", &report.speaks()),
            ("vouched by", &report.issuer),
            ("user", &report.user),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                self.said(2, name, value);
            }
        }
        let took = text::duration(report.took_ms);
        self.said(2, "began", &format!("{}, took {took}, by avouch {}", report.began.rfc3339(), report.avouch));
        if !report.understood.is_empty() {
            self.line("\nUnderstood, of what it publishes");
            for understood in &report.understood {
                self.said(2, &line(&understood.name), &understood.value);
                for why in wrap(&line(&understood.why), self.look.width - INDENT - 2) {
                    self.line(&format!("{:indent$}{why}", "", indent = INDENT + 2));
                }
            }
        }
    }

    fn group(&mut self, view: &View<'_>, group: Group, checks: &[&Checked]) {
        let counts = counts(checks.iter().map(|check| check.verdict), self.look);
        self.line("");
        self.line(&format!("{}  {counts}", bold(&format!("{:<32}", group.title()), self.look)));
        for check in checks.iter().filter(|check| !matches!(check.verdict, Verdict::Pass | Verdict::Skipped)) {
            self.check(view, check);
        }
        self.skipped(checks);
    }

    /// One after the other with their reason; those with one reason together.
    fn skipped(&mut self, checks: &[&Checked]) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for check in checks.iter().filter(|check| check.verdict == Verdict::Skipped) {
            match reasons.iter_mut().find(|(reason, _)| *reason == check.reason) {
                Some((_, names)) => names.push(&check.name),
                None => reasons.push((&check.reason, vec![&check.name])),
            }
        }
        for (reason, names) in reasons {
            self.said(2, "skipped", reason);
            // Where one reason is the whole group's, nobody looks for names.
            if names.len() == checks.len() {
                continue;
            }
            self.said(2, "", &text::named(&names, SKIPPED));
        }
    }

    fn check(&mut self, view: &View<'_>, check: &Checked) {
        let expected = view.expected(check);
        let note = expected.map(|entry| {
            if entry.why.is_empty() { ", expected".to_owned() } else { format!(", expected: {}", line(&entry.why)) }
        });
        let verdict = paint(check.verdict, &mark(check.verdict), self.look);
        let level = if check.is_counted() { check.level.clone() } else { format!("{}, not counted", check.level) };
        self.line(&format!("  {verdict} {} ({level}{})", line(&check.id), note.unwrap_or_default()));
        self.said(4, "what", &check.meaning);
        self.said(4, "rule", &check.section);
        if let Some(link) = &check.link {
            self.listed(4, "", vec![line(link)]);
        }
        self.said(4, "matters", &check.matters);
        self.said(4, "expected", &check.expected);
        if let Some(evidence) = check.decisive() {
            self.listed(4, "received", chop(&received(evidence), self.look.width - INDENT));
        }
        self.said(4, "so", &check.reason);
        if let Some(evidence) = check.decisive() {
            self.listed(4, "again", vec![line(&evidence.curl)]);
        }
    }

    fn summary(&mut self, view: &View<'_>) {
        let report = view.report;
        if !report.remarks.is_empty() {
            self.line(&format!("\n{}", bold("Worth knowing, and not counted", self.look)));
            for remark in &report.remarks {
                for (n, words) in wrap(&line(remark), self.look.width - 4).into_iter().enumerate() {
                    self.line(&format!("  {} {words}", if n == 0 { "-" } else { " " }));
                }
            }
        }
        self.baseline(view);
        let all = counts(report.checks.iter().map(|check| check.verdict), self.look);
        self.line(&format!("\n{}: {all}", text::counted(report.checks.len(), "check", "checks")));
        match report.grade {
            Some(grade) => self.line(&bold(&format!("Grade {}", grade.letter()), self.look)),
            None => self.line(&bold("No grade", self.look)),
        }
        for words in wrap(&line(&report.advice), self.look.width - 2) {
            self.line(&format!("  {words}"));
        }
    }

    fn baseline(&mut self, view: &View<'_>) {
        let Some(baseline) = view.baseline else { return };
        let expected = view.report.checks.iter().filter(|check| view.expected(check).is_some()).count();
        self.line(&format!(
            "\n{}",
            bold(&format!("Baseline: {} as expected", text::counted(expected, "failure", "failures")), self.look)
        ));
        for stale in view.stale() {
            self.said(2, "out of date", &stale.sentence());
        }
        for (entry, check) in baseline.unseen(view.report) {
            self.said(2, "not seen", &format!("line {}: {} ({})", entry.line, entry.id, check.verdict.title()));
        }
    }
}

/// What came, or why nothing did, on one line.
pub(in crate::lab) fn received(evidence: &Evidence) -> String {
    match (&evidence.answer, &evidence.failure) {
        (Some(answer), _) => clip(&answer.summary(), ANSWER),
        (None, Some(failure)) => clip(failure, ANSWER),
        (None, None) => "nothing".to_owned(),
    }
}

/// How many came to which verdict; what none came to is left out.
fn counts(verdicts: impl Iterator<Item = Verdict>, look: Look) -> String {
    let verdicts: Vec<Verdict> = verdicts.collect();
    let count = |of: Verdict| verdicts.iter().filter(|verdict| **verdict == of).count();
    let shown = Verdict::ALL.into_iter().filter(|verdict| count(*verdict) > 0);
    shown
        .map(|verdict| paint(verdict, &format!("{} {}", count(verdict), verdict.title()), look))
        .collect::<Vec<_>>()
        .join(", ")
}

fn mark(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fail => "FAIL".to_owned(),
        other => other.title().to_owned(),
    }
}

pub(in crate::lab) fn paint(verdict: Verdict, text: &str, look: Look) -> String {
    let colour = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail => "1;31",
        Verdict::Warning => "33",
        Verdict::Void | Verdict::CouldNotRun => "35",
        Verdict::Skipped => "2",
    };
    painted(colour, text, look)
}

pub(in crate::lab) fn bold(text: &str, look: Look) -> String {
    painted("1", text, look)
}

fn painted(colour: &str, text: &str, look: Look) -> String {
    let mut painted = String::new();
    let _ = if look.colour { write!(painted, "\x1b[{colour}m{text}\x1b[0m") } else { write!(painted, "{text}") };
    painted
}

#[cfg(test)]
mod tests {
    use super::super::baseline::Baseline;
    use super::super::testing::{bad, good, hostile};
    use super::*;

    fn rendered(report: &Report, look: Look, baseline: Option<&Baseline>) -> String {
        render(&View { report, strict: false, baseline }, look)
    }

    #[test]
    fn a_good_service_is_told_so_in_few_lines() {
        let text = rendered(&good(), Look::default(), None);
        assert!(text.lines().count() < 60, "{text}");
        assert!(text.contains("Grade A\n  Every rule that was checked is kept."), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\r'));
    }

    #[test]
    fn what_did_not_pass_is_told_with_all_that_one_needs() {
        let text = rendered(&bad(), Look::default(), None);
        for words in [
            "  FAIL rfc7515/5.2/signed-by-a-stranger (MUST)\n    what       Another key signed than the one that the header names.\n",
            "    rule       RFC 7515 section 5.2\n               https://www.rfc-editor.org/rfc/rfc7515#section-5.2\n",
            "    matters    Anybody could write a token in any user's name",
            "    expected   400 invalid_signature\n",
            "    received   200 {\"registration_id\":\"reg_4f9a\"",
            "    again      curl -s https://notes.example/agent/auth -H 'content-type: application/json' -d ",
            "  could not run rfc9112/9.5/jwks-hangs (SHOULD)\n",
            "    received   no answer within 10 s\n",
            "  warning id-jag/4.4.1/sub-unknown (policy, not counted)\n",
            "  skipped      the service fetches no documents of clients\n",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        let last: Vec<&str> = text.lines().rev().take(12).collect();
        assert!(last.contains(&"Grade F"), "the grade is last: {last:?}");
        for line in text.lines().filter(|line| line.chars().count() > 80) {
            assert!(["again", "https:"].iter().any(|word| line.contains(word)), "{line}");
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        let plain = rendered(&bad(), Look::default(), None);
        let coloured = rendered(&bad(), Look { colour: true, width: 80 }, None);
        assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m"));
        let mut stripped = coloured;
        for code in ["1;31", "1", "2", "32", "33", "35", "0"] {
            stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn nothing_that_a_service_sends_is_done() {
        for width in [0, 40, 80, 4000] {
            let text = rendered(&hostile(), Look { colour: false, width }, None);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "no control characters");
            assert!(!text.contains('\u{202e}'));
            // These would be orders to some build server.
            assert!(text.lines().all(|line| !line.trim_start().starts_with("::")) && !text.contains("##"), "{text}");
        }
    }

    #[test]
    fn a_baseline_is_told_of() {
        let text = "rfc7515/5.2/signed-by-a-stranger # gateway\nrfc7523/3/expired\nrfc9112/9.5/jwks-hangs\n";
        let baseline = Baseline::parse(text).unwrap();
        let text = rendered(&bad(), Look::default(), Some(&baseline));
        for words in [
            "  FAIL rfc7515/5.2/signed-by-a-stranger (MUST, expected: gateway)\n",
            "Baseline: 1 failure as expected\n",
            "  out of date  line 2: rfc7523/3/expired passes now: take it out\n",
            "  not seen     line 3: rfc9112/9.5/jwks-hangs (could not run)\n",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }
}
