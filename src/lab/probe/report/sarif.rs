//! A report as SARIF 2.1.0, for whoever collects findings of several tools. Written here: the crate that has the whole format costs a tenth of
//! a cold build.

use serde_json::{Map, Value, json};

use super::json::pretty;
use super::terminal::received;
use super::text::line;
use super::view::View;
use super::{Checked, Ending, Verdict};
use crate::domain::time::{Seconds, Timestamp};
use crate::secret::sha256;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What the service's origin is called.
const BASE: &str = "SERVICE";

/// The file: a result for each check that failed or warned.
#[must_use]
pub fn render(view: &View<'_>) -> String {
    let (report, place) = (view.report, place(&view.report.target));
    let found: Vec<&Checked> = report.checks.iter().filter(|check| is_result(check)).collect();
    let rules: Vec<Value> = found.iter().map(|check| rule(view, check)).collect();
    let results: Vec<Value> = found.iter().enumerate().map(|(n, check)| result(view, n, check)).collect();
    pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "avouch probe",
                "version": line(&report.avouch),
                "rules": rules,
            }},
            "automationDetails": { "id": format!("avouch-probe/{}/", line(&report.target)) },
            // SARIF 3.14.14: what is examined over HTTP is named relative to its origin. Some collectors take no other addresses.
            "originalUriBaseIds": { BASE: { "uri": place.0 } },
            "artifacts": [{
                "location": { "uri": place.1, "uriBaseId": BASE },
                "description": { "text": format!("The service that was examined: {}", line(&report.target)) },
            }],
            "invocations": [invocation(view)],
            "results": results,
            "properties": {
                "grade": report.grade.map(super::Grade::letter),
                "advice": line(&report.advice),
                "dialect": report.dialect.as_deref().map(line),
            },
        }],
    }))
}

fn is_result(check: &Checked) -> bool {
    matches!(check.verdict, Verdict::Fail | Verdict::Warning)
}

/// What came to nothing is told here: a run with none of it has looked at everything.
fn invocation(view: &View<'_>) -> Value {
    let report = view.report;
    let took = i64::try_from(report.took_ms / 1000).unwrap_or_default();
    let undecided = report.checks.iter().filter(|check| matches!(check.verdict, Verdict::Void | Verdict::CouldNotRun));
    let mut notifications: Vec<Value> = undecided
        .map(|check| {
            let text = format!("{}: {}: {}", line(&check.id), check.verdict.title(), line(&check.reason));
            json!({ "level": "warning", "message": { "text": text } })
        })
        .collect();
    notifications.extend(
        view.stale()
            .iter()
            .map(|stale| json!({ "level": "error", "message": { "text": format!("baseline, {}", stale.sentence()) } })),
    );
    json!({
        "executionSuccessful": matches!(report.ending, Ending::Complete | Ending::Passive),
        "startTimeUtc": report.began.rfc3339(),
        "endTimeUtc": Timestamp::rfc3339(report.began + Seconds(took)),
        "toolExecutionNotifications": notifications,
    })
}

fn rule(view: &View<'_>, check: &Checked) -> Value {
    let mut rule = json!({
        "id": line(&check.id),
        "name": pascal(&check.name),
        "shortDescription": { "text": line(&check.meaning) },
        "fullDescription": { "text": line(&check.matters) },
        "help": { "text": format!("{} ({}). Expected: {}", line(&check.section), line(&check.level), line(&check.expected)) },
        "defaultConfiguration": { "level": level(view, check) },
        "properties": { "tags": ["security", line(check.group.title())] },
    });
    if let Some(link) = &check.link {
        rule["helpUri"] = json!(address(link));
    }
    rule
}

fn result(view: &View<'_>, n: usize, check: &Checked) -> Value {
    let target = &view.report.target;
    let came = check.decisive().map(|evidence| format!(" Received: {}", received(evidence))).unwrap_or_default();
    let mut properties = Map::new();
    properties.insert("verdict".into(), json!(check.verdict));
    if let Some(evidence) = check.decisive() {
        properties.insert("curl".into(), json!(line(&evidence.curl)));
    }
    let mut result = json!({
        "ruleId": line(&check.id),
        "ruleIndex": n,
        "kind": if check.is_counted() { "fail" } else { "review" },
        "level": level(view, check),
        "message": { "text": format!("{} {}.{came}", line(&check.meaning), line(&check.reason)) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": place(target).1, "uriBaseId": BASE, "index": 0 } },
            "logicalLocations": [{ "fullyQualifiedName": line(target), "kind": "resource" }],
        }],
        "partialFingerprints": { "avouchCheck/v1": fingerprint(target, &check.id) },
        "properties": properties,
    });
    if let Some(entry) = view.expected(check) {
        let why = if entry.why.is_empty() { "in the baseline" } else { &entry.why };
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": line(why) }]);
    }
    result
}

/// What is to be reviewed has no level of its own (SARIF 3.27.10).
fn level(view: &View<'_>, check: &Checked) -> &'static str {
    match check.verdict {
        _ if !check.is_counted() => "none",
        Verdict::Warning if !view.strict => "warning",
        _ => "error",
    }
}

/// The same finding at the same service, whenever it is found.
fn fingerprint(target: &str, id: &str) -> String {
    sha256(format!("{target}\n{id}").as_bytes())
}

/// The origin of a service, and its address from there.
fn place(target: &str) -> (String, String) {
    match url::Url::parse(target) {
        Ok(url) if url.has_host() => {
            let path = url.path().trim_start_matches('/');
            let path = if path.is_empty() { "." } else { path };
            (format!("{}/", url.origin().ascii_serialization()), path.to_owned())
        }
        _ => ("https://invalid/".to_owned(), address(target)),
    }
}

/// A URI reference, as the format wants: what is no URL is percent-encoded.
fn address(text: &str) -> String {
    url::Url::parse(text).map_or_else(|_| url::form_urlencoded::byte_serialize(text.as_bytes()).collect(), String::from)
}

/// Rules are named as identifiers.
fn pascal(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Report;
    use super::super::baseline::Baseline;
    use super::super::testing::{bad, good, hostile};
    use super::*;

    fn run(report: &Report, strict: bool, baseline: Option<&Baseline>) -> Value {
        let text = render(&View { report, strict, baseline });
        serde_json::from_str::<Value>(&text).unwrap()["runs"][0].clone()
    }

    #[test]
    fn each_finding_has_its_rule_its_place_and_a_name_for_good() {
        let run = run(&bad(), false, None);
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 9);
        let mut prints = BTreeSet::new();
        for result in results {
            let rule = &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(rule["helpUri"].as_str().unwrap().starts_with("https://"), "{rule}");
            assert!(rule["fullDescription"]["text"].as_str().is_some_and(|text| text.ends_with('.')));
            let place = &result["locations"][0]["physicalLocation"]["artifactLocation"];
            assert_eq!(place, &json!({"uri": ".", "uriBaseId": "SERVICE", "index": 0}));
            prints.insert(result["partialFingerprints"]["avouchCheck/v1"].as_str().unwrap().to_owned());
        }
        assert_eq!(prints.len(), results.len());
        assert_eq!(run["originalUriBaseIds"]["SERVICE"]["uri"], "http://localhost:8000/");
        assert_eq!(place("https://a.example:444/x/y?z"), ("https://a.example:444/".into(), "x/y".into()));
        let of = |name: &str| results.iter().find(|result| result["ruleId"].as_str().unwrap().ends_with(name)).unwrap();
        assert_eq!(of("/signed-by-a-stranger")["level"], "error");
        assert_eq!(of("/too-long")["level"], "warning");
        assert_eq!((&of("/sub-unknown")["level"], &of("/sub-unknown")["kind"]), (&json!("none"), &json!("review")));
        assert_eq!(run["properties"]["grade"], "F");
        assert_eq!(run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap().len(), 2);
        assert_eq!(run["tool"]["driver"]["rules"][0]["name"].as_str().map(|name| name.contains('-')), Some(false));
    }

    #[test]
    fn what_is_expected_is_suppressed_and_strictness_makes_errors() {
        let baseline = Baseline::parse("rfc7515/5.2/signed-by-a-stranger # gateway\nrfc8725/3.1/alg-none").unwrap();
        let run = run(&bad(), true, Some(&baseline));
        let results = run["results"].as_array().unwrap();
        let suppressed: Vec<&Value> = results.iter().filter(|result| !result["suppressions"].is_null()).collect();
        assert_eq!(suppressed.len(), 1);
        assert_eq!(suppressed[0]["suppressions"][0]["justification"], "gateway");
        assert!(results.iter().all(|result| result["level"] != "warning"));
        let told = run["invocations"][0]["toolExecutionNotifications"].to_string();
        assert!(told.contains("baseline, line 2: rfc8725/3.1/alg-none passes now"), "{told}");
    }

    #[test]
    fn a_good_service_has_no_results_and_a_hostile_one_no_say() {
        assert_eq!(run(&good(), true, None)["results"], json!([]));
        let mut report = hostile();
        report.target = super::super::testing::HOSTILE.into();
        let text = render(&View { report: &report, strict: false, baseline: None });
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'));
        let run: Value = serde_json::from_str(&text).unwrap();
        let uri = run["runs"][0]["artifacts"][0]["location"]["uri"].as_str().unwrap();
        assert!(uri.bytes().all(|c| c.is_ascii_graphic() && c != b'<'), "{uri}");
    }
}
