use super::*;
use crate::domain::time::Timestamp;
use crate::lab::drill::all;
use crate::lab::drill::report::{Kind, Moment, SCHEMA, Said, Schedule, Service, Step, What};
use crate::lab::examine::found::{Evidence, Received, Verdict};
use crate::lab::probe::report::terminal::Look;

/// What a stranger may send.
const HOSTILE: &str = "</title><script>alert(1)</script>\u{202e}\u{1b}[2J]]>\n::error::x";

fn step(n: usize, step: &crate::lab::drill::Step, text: &str) -> Step {
    let verdict = Verdict::ALL[n % Verdict::ALL.len()];
    let answer = Some(Received { status: 400, code: Some(text.into()), body: text.into() });
    let evidence = Evidence {
        what: text.into(),
        curl: format!("curl -sS {text}"),
        token: None,
        answer,
        failure: None,
        took_ms: 7,
    };
    Step {
        at_ms: Some(1000),
        measured_ms: (n == 1).then_some(1234),
        evidence: vec![evidence],
        ..step.with(verdict, text)
    }
}

fn service(named: &str, text: &str, standing: Standing) -> Service {
    let moment = |at_ms, what| Moment { at_ms, what };
    let keys = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let presented = |key: &str, answer| What::Presented { key: key.into(), answer };
    Service {
        named: named.into(),
        audience: Some(named.into()),
        dialect: Some("auth_md_flat".into()),
        issuer: "http://localhost:4500/lab".into(),
        standing,
        remarks: vec![text.into()],
        steps: all(Kind::Rotation).iter().enumerate().map(|(n, known)| step(n, known, text)).collect(),
        moments: vec![
            moment(0, What::Published { keys: keys(&["key 1"]), flaw: None }),
            moment(5, What::Fetched { status: 200, keys: keys(&["key 1"]) }),
            moment(9, presented("key 1", Said::Taken)),
            moment(600_000, What::Published { keys: keys(&["key 2"]), flaw: Some("jwks-fails".into()) }),
            moment(600_010, What::Fetched { status: 500, keys: keys(&["key 2"]) }),
            moment(600_020, presented("key 1", Said::Refused)),
            moment(600_030, presented("key 9", Said::Nothing)),
            moment(600_040, What::Notified { key: text.into(), answer: Said::Taken }),
        ],
    }
}

fn report(text: &str) -> Report {
    Report {
        schema: SCHEMA,
        avouch: "0.0.0".into(),
        drill: Kind::Rotation,
        schedule: Schedule::Realistic,
        issuer: "http://localhost:4500/lab".into(),
        live: false,
        began: Timestamp(1_800_000_000),
        took_ms: 600_040,
        ending: Ending::Complete,
        remarks: Vec::new(),
        services: vec![
            service("http://localhost:8000", text, Standing::NotReady),
            service("http://localhost:8001", text, Standing::Ready),
        ],
    }
}

#[test]
fn a_page_is_whole_and_fetches_and_runs_nothing() {
    for text in ["it is refused", HOSTILE] {
        let page = html::render(&report(text));
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        for outside in ["<script", "<img", "<iframe", "<form", "@import", "url(", " style=", "javascript:", "\u{202e}"]
        {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()));
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        for what in ["<svg", "<title>10 min 0 s: fetched, 500: key 2</title>", "set-bad", "other keys", "not ready"] {
            assert!(page.contains(what), "{what}");
        }
        let places: Vec<&str> =
            page.match_indices(" id=\"").map(|(at, _)| page[at + 5..].split('"').next().unwrap()).collect();
        let mut once = places.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), places.len(), "each id once");
    }
}

#[test]
fn what_is_drawn_stays_within_the_drawing() {
    let mut service = service("a", "b", Standing::Ready);
    service.moments.sort_by_key(|moment| moment.at_ms);
    let drawn = line::draw(&service).unwrap();
    assert!(drawn.dots.iter().all(|dot| (150..=985).contains(&dot.x) && dot.y < drawn.height));
    assert!(drawn.spans.iter().all(|span| span.x + span.width <= 987 && span.y < drawn.height));
    assert_eq!(drawn.spans.len(), 2);
    assert_eq!(drawn.dots.len(), 6);
    service.moments.clear();
    assert!(line::draw(&service).is_none());
}

#[test]
fn in_junit_nothing_is_green_that_was_not_shown() {
    let (report, name) = (report(HOSTILE), "http://localhost:8000");
    for strict in [false, true] {
        let text = junit::render(&report, strict);
        let file = quick_junit::Report::deserialize_from_str(&text).unwrap();
        let suite = file.test_suites.iter().find(|suite| suite.name.as_str() == name).unwrap();
        let green =
            suite.test_cases.iter().filter(|case| matches!(case.status, quick_junit::TestCaseStatus::Success { .. }));
        assert_eq!(green.count(), report.services[0].count(Verdict::Pass));
        let counts = |verdict| report.services.iter().map(|service| service.count(verdict)).sum::<usize>();
        let failures = counts(Verdict::Fail) + if strict { counts(Verdict::Warning) } else { 0 };
        assert_eq!((file.failures, file.errors), (failures, counts(Verdict::Void) + counts(Verdict::CouldNotRun)));
    }
}

#[test]
fn on_a_terminal_the_table_comes_last_and_nothing_a_stranger_sends_is_done() {
    let text = terminal::render(&report(HOSTILE), Look { colour: false, width: 80 });
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'));
    assert!(text.lines().all(|line| !line.trim_start().starts_with("::")));
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    assert!(last[2].starts_with("SERVICE") && last[1].contains("not ready") && last[0].contains("ready"), "{last:?}");
    assert!(last[0].contains("after 1.2 s"), "{}", last[0]);
}

#[test]
fn how_a_run_ends() {
    let mut one = report("x");
    assert!(matches!(outcome(&one, false), Outcome::Short(why) if why.contains("8000") && !why.contains("8001")));
    one.services.remove(0);
    assert_eq!(outcome(&one, true), Outcome::Fine);
    one.services[0].standing = Standing::Warned;
    assert_eq!(outcome(&one, false), Outcome::Fine);
    assert!(matches!(outcome(&one, true), Outcome::Short(_)));
    one.services[0].standing = Standing::Unknown;
    assert!(matches!(outcome(&one, false), Outcome::Unable(_)));
    one.services[0].standing = Standing::Ready;
    one.ending = Ending::Interrupted;
    assert!(matches!(outcome(&one, false), Outcome::Unable(_)));
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let one = report(HOSTILE);
    let text = json::render(&one);
    assert_eq!(json::read(&text).unwrap(), one);
    assert!(!text.contains('\u{202e}'));
    assert!(json::read("{}").is_err() && json::read(&text.replace("\"schema\": 1", "\"schema\": 2")).is_err());
}
