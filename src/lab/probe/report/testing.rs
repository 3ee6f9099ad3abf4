//! Reports for tests: of a service that keeps every rule, of one that does not, and of one that writes back what it likes.

use serde_json::json;

use super::advice::advice;
use super::grade::grade;
use super::link::link;
use super::matters::{matters, matters_of_effect};
use super::{Checked, Ending, Evidence, Group, Line, Received, Report, SCHEMA, Sent, Verdict};
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Answer, Class, Dialect, Flaw, Kind, Section, Spec, all};

const TARGET: &str = "https://notes.example";
const ISSUER: &str = "https://probe.example/issuer";

/// Controls, markup, a turn of direction, and words without end.
pub(crate) const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}<script>document.title='owned'</script><img src=x onerror=alert(1)>'\"&amp;]]>\u{0}\u{7}\r\n ::error::owned ##vso[task.owned]";

/// Each effect: its name, where its rule stands, how binding, and what it is.
const EFFECTS: [(&str, Section, &str, &str); 9] = [
    (
        "refetches-for-an-unknown-key",
        at(Spec::Rfc7517, "4.5"),
        "MUST",
        "A key that was published a moment ago signs: the key set is fetched anew.",
    ),
    (
        "does-not-fetch-for-each-assertion",
        at(Spec::AuthMd, "JWKS fetching"),
        "SHOULD",
        "Ten assertions come one after the other: the key set is not fetched for each.",
    ),
    (
        "revocation-ends-the-credential",
        at(Spec::AuthMd, "Revocation"),
        "MUST",
        "A notice says that the user took it back: the credential ends.",
    ),
    (
        "revocation-spares-other-users",
        at(Spec::AuthMd, "Revocation"),
        "MUST",
        "A notice about one user leaves the credentials of another.",
    ),
    ("a-refusal-gives-no-credential", at(Spec::Rfc6749, "3.3"), "MUST", "What was refused has given no credential."),
    ("challenge-names-the-metadata", at(Spec::Rfc6750, "3.1"), "SHOULD", "A 401 says where the metadata is."),
    (
        "credentials-are-not-stored",
        at(Spec::Rfc6750, "3.1"),
        "SHOULD",
        "Answers with credentials are kept by no cache.",
    ),
    ("no-refresh-token", at(Spec::IdJag, "4.4.1"), "SHOULD", "There is no refresh token beside the credential."),
    (
        "consents-survive-a-new-key",
        at(Spec::Cimd, "8.2"),
        "policy",
        "The keys of the client change: what users agreed to stands.",
    ),
];

const fn at(spec: Spec, at: &'static str) -> Section {
    Section { spec, at }
}

/// Of a service that keeps every rule.
pub(crate) fn good() -> Report {
    let mut checks: Vec<Checked> =
        all().iter().filter(|flaw| flaw.kind != Kind::Sandbox).map(|flaw| of_flaw(flaw)).collect();
    checks.extend(EFFECTS.map(of_effect));
    checks.sort_by_key(|check| check.group);
    let mut report = Report {
        schema: SCHEMA,
        avouch: "0.0.0".into(),
        target: TARGET.into(),
        audience: Some(TARGET.into()),
        dialect: Some("auth_md_v0_1".into()),
        issuer: Some(ISSUER.into()),
        user: Some("alice@example.com".into()),
        began: Timestamp(1_795_892_400),
        took_ms: 9_412,
        ending: Ending::Complete,
        grade: None,
        advice: String::new(),
        remarks: vec![],
        understood: vec![
            line("issuer", TARGET, "issuer of https://notes.example/.well-known/oauth-authorization-server"),
            line("identity endpoint", "https://notes.example/agent/auth", "agent_auth.register_uri of the same"),
            line("told at", "https://notes.example/agent/auth/revoke", "agent_auth.revocation_uri of the same"),
        ],
        checks,
    };
    settle(&mut report);
    report
}

/// Of one that falls short in every way that there is.
pub(crate) fn bad() -> Report {
    let mut report = good();
    report.target = "http://localhost:8000".into();
    report.audience = Some(report.target.clone());
    report.remarks = vec![
        "Every refusal says invalid_request and nothing else: which rule it is about cannot be told.".into(),
        "The metadata name a jwks_uri, which nobody needs who takes assertions.".into(),
    ];
    for name in [
        "signed-by-a-stranger",
        "aud-of-another-service",
        "aud-that-begins-alike",
        "jti-replayed",
        "exp-in-text",
        "revocation-ends-the-credential",
    ] {
        set(&mut report, name, Verdict::Fail);
    }
    for name in ["too-long", "credentials-are-not-stored", "sub-unknown"] {
        set(&mut report, name, Verdict::Warning);
    }
    set(&mut report, "jwks-hangs", Verdict::CouldNotRun);
    set(&mut report, "cnf-unknown", Verdict::Void);
    for check in &mut report.checks {
        if check.group == Group::Client || check.name == "jti-replayed-after-restart" {
            check.verdict = Verdict::Skipped;
            check.reason = "the service fetches no documents of clients".into();
            check.evidence.clear();
        }
    }
    settle(&mut report);
    report
}

/// Of one that writes whatever it likes wherever it can.
pub(crate) fn hostile() -> Report {
    let mut report = bad();
    report.audience = Some(HOSTILE.into());
    report.user = Some(HOSTILE.into());
    report.remarks = vec![HOSTILE.into()];
    report.understood.push(line(HOSTILE, HOSTILE, HOSTILE));
    for check in report.checks.iter_mut().filter(|check| check.verdict != Verdict::Pass) {
        check.reason = format!("it says {HOSTILE}");
        check.evidence = vec![Evidence {
            what: HOSTILE.into(),
            curl: format!("curl -s -d '{HOSTILE}{}'", "x".repeat(400)),
            token: Some(Sent { header: json!({ "typ": HOSTILE }), claims: json!({ HOSTILE: HOSTILE }) }),
            answer: Some(Received { status: 200, code: Some(HOSTILE.into()), body: HOSTILE.repeat(3) }),
            failure: None,
            took_ms: 1,
        }];
    }
    report
}

/// Gives a check another verdict, with what goes with it.
pub(crate) fn set(report: &mut Report, name: &str, verdict: Verdict) {
    let check = report.checks.iter_mut().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"));
    check.verdict = verdict;
    let (reason, answer, failure) = match verdict {
        Verdict::Fail | Verdict::Warning => ("it was taken, as a good one is", Some((200, None, taken())), None),
        Verdict::Void => ("the good one that came after it was refused: invalid_request", Some(refused()), None),
        Verdict::CouldNotRun => ("there was no answer in 10 s", None, Some("no answer within 10 s")),
        Verdict::Skipped => ("it was not asked for", None, None),
        Verdict::Pass => ("it was refused as it should be", Some(refused()), None),
    };
    check.reason = reason.into();
    let answer = answer.map(|(status, code, body)| Received { status, code, body });
    check.evidence = vec![control(), shown(&check.meaning, answer, failure)];
}

fn settle(report: &mut Report) {
    report.grade = grade(&report.checks, report.ending);
    report.advice = advice(&report.checks, report.ending);
}

fn line(name: &str, value: &str, why: &str) -> Line {
    Line { name: name.into(), value: value.into(), why: why.into() }
}

fn refused() -> (u16, Option<String>, String) {
    let body = r#"{"error":"invalid_request","error_description":"the assertion was refused"}"#;
    (400, Some("invalid_request".into()), body.into())
}

fn taken() -> String {
    r#"{"registration_id":"reg_4f9a","credential":"…","credential_type":"access_token","expires_in":3600}"#.into()
}

fn control() -> Evidence {
    Evidence {
        what: "the control before: a good assertion".into(),
        ..shown("", Some(Received { status: 200, code: None, body: taken() }), None)
    }
}

fn shown(what: &str, answer: Option<Received>, failure: Option<&str>) -> Evidence {
    Evidence {
        what: what.into(),
        curl: format!(
            "curl -s {TARGET}/agent/auth -H 'content-type: application/json' \
             -d '{{\"type\":\"id_jag\",\"assertion\":\"'\"$(avouch mint --key lab.json --audience {TARGET})\"'\"}}'"
        ),
        token: Some(Sent {
            header: json!({"alg": "ES256", "kid": "lab-1", "typ": "oauth-id-jag+jwt"}),
            claims: json!({"iss": ISSUER, "sub": "user-1", "aud": TARGET, "client_id": "https://probe.example/agent.json",
                "email": "alice@example.com", "email_verified": true, "iat": 1_795_892_400, "exp": 1_795_892_700, "jti": "lab-0001"}),
        }),
        answer,
        failure: failure.map(str::to_owned),
        took_ms: 12,
    }
}

fn of_flaw(flaw: &Flaw) -> Checked {
    let expected = match flaw.answer(Dialect::V01) {
        Answer::Refuse { status, codes } => format!("{status} {}", codes.join(" or ")),
        Answer::Accept { status } => format!("{status}: it is taken"),
        Answer::Open => "anything: no rule says".to_owned(),
    };
    checked(
        flaw.check(),
        flaw.name,
        group(flaw),
        flaw.meaning,
        flaw.section,
        flaw.level.as_str(),
        matters(flaw),
        expected,
    )
}

fn of_effect((name, section, level, meaning): (&str, Section, &str, &str)) -> Checked {
    let id = format!("{}/{}/{name}", section.spec.slug(), section.at.to_lowercase().replace(' ', "-"));
    let matters = matters_of_effect(name).unwrap();
    checked(id, name, Group::Effects, meaning, section, level, matters, "that it is so".to_owned())
}

#[expect(clippy::too_many_arguments, reason = "each is a member of its own")]
fn checked(
    id: String,
    name: &str,
    group: Group,
    meaning: &str,
    section: Section,
    level: &str,
    matters: &str,
    expected: String,
) -> Checked {
    Checked {
        id,
        name: name.into(),
        group,
        meaning: meaning.into(),
        section: section.to_string(),
        link: link(section),
        level: level.into(),
        matters: matters.into(),
        expected,
        verdict: Verdict::Pass,
        reason: "it was refused as it should be".into(),
        evidence: vec![],
    }
}

fn group(flaw: &Flaw) -> Group {
    match (flaw.kind, flaw.class) {
        (Kind::Notice, _) => Group::Notices,
        (Kind::Jwks, _) => Group::KeySet,
        (Kind::Cimd, _) => Group::Client,
        (_, Class::Signature) => Group::Signature,
        (_, Class::Issuer | Class::Audience | Class::Client) => Group::Parties,
        (_, Class::Expiry | Class::Replay) => Group::Times,
        (_, Class::Contact | Class::Authentication | Class::Interaction | Class::Access) => Group::Person,
        (_, Class::Target | Class::Scope) => Group::Target,
        (_, Class::Possession) => Group::Possession,
        _ => Group::Form,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tests of the whole program read. Written anew where INSTA_UPDATE is `always`, as the snapshots are.
    #[test]
    fn the_reports_that_other_tests_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/probe");
        for (name, report) in [("good", good()), ("bad", bad())] {
            let (file, text) = (folder.join(format!("{name}.json")), super::super::json::render(&report));
            if std::env::vars().any(|(name, value)| name == "INSTA_UPDATE" && value == "always") {
                std::fs::write(&file, &text).unwrap();
            }
            let written = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                written == text,
                "{name} is out of date: INSTA_UPDATE=always tests/run the_reports_that_other_tests_read"
            );
        }
    }
}
