//! The probe against the sandbox: it passes a strict one in every dialect without a warning, and of one that does not keep a rule it finds
//! exactly that.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::report::{self, Checked, Ending, Report, Verdict};
use super::*;
use crate::clock::Clock;
use crate::domain::ids::{Audience, IssuerUrl};
use crate::flow::discover::discover;
use crate::jose::LabKey;
use crate::lab::flaws::{Answer, Broken, Class, Dialect, Rule};
use crate::lab::hosted::Hosted;
use crate::lab::sandbox::{self, Sandbox};
use crate::net::{Documents, Net, Policy};
use crate::rng::Rng;
use crate::secret::Secret;

const NOBODY: &str = "nobody@lab.invalid";

fn net() -> Net {
    Net::new(Policy { allow_private_addresses: true, ..Policy::default() }).unwrap()
}

/// A router on a free port for as long as the test's runtime lives; the router is made when the origin is known.
async fn serve(router: impl FnOnce(&str) -> axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = router(&origin);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// Who vouches, with what it publishes.
struct Issuer {
    hosted: Hosted,
    url: IssuerUrl,
}

impl Issuer {
    async fn new() -> Self {
        let hosted = Hosted::default();
        let router = hosted.router();
        let origin = serve(|_| router).await;
        Self { hosted, url: IssuerUrl::parse(&format!("{origin}/lab")).unwrap() }
    }

    async fn sandbox(&self, dialect: Dialect, broken: Broken) -> (String, Sandbox) {
        let client = |id: &str| sandbox::Client { id: id.into(), secret: Secret::new("s") };
        let strict = sandbox::Options::strict(Clock::System, Rng::seeded(1));
        let clients = vec![client("c"), client("other")];
        let denied = vec![NOBODY.into()];
        let trust = vec![self.url.clone()];
        let options = sandbox::Options { trust, dialect, broken, clients, denied, ..strict };
        let mut made = None;
        let origin = serve(|origin| made.insert(sandbox::new(origin.to_owned(), options).unwrap()).router()).await;
        (origin, made.unwrap())
    }

    async fn options(&self, origin: &str, dialect: Dialect, sandbox: Sandbox) -> Options {
        let asked = Audience::parse(origin).unwrap();
        let found = discover(&Documents::new(net()), &asked, Clock::System.now(), true).await;
        let user = |name: &str| User { sub: name.into(), email: Some(format!("{name}@lab.invalid")) };
        let plain = dialect == Dialect::Plain;
        Options {
            named: origin.to_owned(),
            understood: found.understood,
            known: Known { dialect: Some(dialect), ..Known::default() },
            issuer: self.url.clone(),
            key: LabKey::of_seed(&[7]).unwrap(),
            hosted: self.hosted.clone(),
            user: user("probe"),
            other_user: user("other"),
            client: plain.then(|| Client { id: "c".into(), secret: Secret::new("s") }),
            other_client: plain.then(|| "other".into()),
            selection: Selection::default(),
            passive: false,
            gap: Duration::ZERO,
            patience: Duration::ZERO,
            kill_within: Duration::from_millis(300),
            restart: Some(Box::new(move || {
                sandbox.restart();
                Box::pin(async { Ok(()) })
            })),
            net: net(),
            clock: Clock::System,
            rng: Rng::Os,
            stop: watch::channel(false).1,
            tell: Box::new(|_| {}),
        }
    }

    async fn probe(&self, dialect: Dialect, broken: Broken) -> Report {
        let (origin, sandbox) = self.sandbox(dialect, broken).await;
        Box::pin(run(self.options(&origin, dialect, sandbox).await)).await.unwrap()
    }
}

fn line(checked: &Checked) -> String {
    format!("{:?} {}: {}", checked.verdict, checked.name, checked.reason)
}

#[tokio::test]
async fn a_strict_one_passes_in_every_dialect_without_a_warning() {
    let issuer = Issuer::new().await;
    for dialect in Dialect::ALL {
        let report = issuer.probe(dialect, Broken::default()).await;
        let wrong: Vec<String> = report
            .checks
            .iter()
            .filter(|checked| !matches!(checked.verdict, Verdict::Pass | Verdict::Skipped))
            .map(line)
            .collect();
        assert!(wrong.is_empty(), "{dialect:?} {:?} {:?}\n{}", report.ending, report.remarks, wrong.join("\n"));
        assert_eq!(report.ending, Ending::Complete);
    }
}

async fn without_each_rule(dialect: Dialect) {
    let issuer = Issuer::new().await;
    let mut wrong = Vec::new();
    for rule in Broken::all().rules() {
        // Nobody is asked for proofs there, so there is nothing to be too lenient with.
        if rule == Rule::AcceptAnyDpopProof && dialect != Dialect::Plain {
            continue;
        }
        let (origin, sandbox) = issuer.sandbox(dialect, [rule].into_iter().collect()).await;
        let mut options = issuer.options(&origin, dialect, sandbox).await;
        // These wait for time-outs; the strict one was shown them.
        let slow = ["cimd-hangs", "cimd-drips", "cimd-slow"].map(str::to_owned);
        options.selection = Selection::new(Vec::new(), slow.to_vec()).unwrap();
        let report = Box::pin(run(options)).await.unwrap();
        for checked in &report.checks {
            let check = all().into_iter().find(|check| check.id() == checked.id).unwrap();
            // What the dialect leaves open, or takes whatever rule is kept, shows nothing of a rule.
            if let Check::Flaw(flaw) = check
                && !matches!(flaw.answer(dialect), Answer::Refuse { .. })
                && flaw.class != Class::Tolerated
            {
                continue;
            }
            // Clients are registered there, and no document of theirs is looked at.
            let of_documents = matches!(rule, Rule::AcceptAnyIssuer | Rule::IgnoreJwksUriOfDocument);
            if dialect == Dialect::Plain && of_documents && checked.name == "client-id-of-a-stranger" {
                continue;
            }
            let names_it = check.counterparts().contains(&rule.name());
            let found = matches!(checked.verdict, Verdict::Fail | Verdict::Warning);
            // Whoever does not fetch a key set shows nothing of what is in it.
            let unseen = checked.verdict == Verdict::Void && checked.group == report::Group::KeySet;
            let shown = checked.verdict != Verdict::Skipped && !unseen;
            if found != names_it && shown || checked.verdict == Verdict::CouldNotRun {
                wrong.push(format!("{dialect:?} {}: {}", rule.name(), line(checked)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn without_each_rule_in_v01() {
    without_each_rule(Dialect::V01).await;
}

#[tokio::test]
async fn without_each_rule_flat() {
    without_each_rule(Dialect::Flat).await;
}

#[tokio::test]
async fn without_each_rule_nested() {
    without_each_rule(Dialect::Nested).await;
}

#[tokio::test]
async fn without_each_rule_plain() {
    without_each_rule(Dialect::Plain).await;
}

/// A service that answers whatever it likes, whoever comes with whatever.
struct Odd {
    origin: String,
}

impl Odd {
    /// `answer` is told how many assertions came before.
    async fn new(answer: impl Fn(usize) -> (u16, &'static str) + Clone + Send + Sync + 'static) -> Self {
        use axum::http::StatusCode;
        use axum::response::IntoResponse as _;
        use axum::routing::{get, post};
        let came = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let origin = serve(|origin| {
            let metadata = serde_json::json!({"issuer": origin, "agent_auth": {
                "register_uri": format!("{origin}/agent/auth"), "revocation_uri": format!("{origin}/agent/auth/revoke"),
                "identity_types_supported": ["identity_assertion"],
                "identity_assertion": {"assertion_types_supported": ["urn:ietf:params:oauth:token-type:id-jag"]}}});
            let reply = move || async move {
                let n = came.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let (status, body) = answer(n);
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            };
            axum::Router::new()
                .route(
                    "/.well-known/oauth-authorization-server",
                    get(move || async move { ([("content-type", "application/json")], metadata.to_string()) }),
                )
                .route("/agent/auth", post(reply))
        })
        .await;
        Self { origin }
    }

    async fn probe(&self, change: impl FnOnce(&mut Options)) -> Report {
        let issuer = Issuer::new().await;
        let (_, nobody) = issuer.sandbox(Dialect::V01, Broken::default()).await;
        let mut options = issuer.options(&self.origin, Dialect::V01, nobody).await;
        // Of each sort one; the documents of clients would wait for time-outs.
        let only = ["rfc7515", "a-bad-request-is-answered", "one-assertion-one-credential"].map(str::to_owned);
        options.selection = Selection::new(only.to_vec(), Vec::new()).unwrap();
        change(&mut options);
        Box::pin(run(options)).await.unwrap()
    }
}

const GIVEN: &str = r#"{"registration_id": "r", "credential": "c"}"#;
const REFUSED: &str = r#"{"error": "invalid_signature", "message": "no"}"#;

fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut found: Vec<Verdict> = report.checks.iter().map(|checked| checked.verdict).collect();
    found.sort();
    found.dedup();
    found
}

#[tokio::test]
async fn who_trusts_everybody_gets_an_f_and_who_trusts_nobody_none() {
    let everybody = Odd::new(|_| (200, GIVEN)).await.probe(|_| {}).await;
    assert_eq!((everybody.ending, everybody.grade), (Ending::Complete, Some(report::Grade::F)));
    let once = everybody.checks.iter().find(|checked| checked.name == "one-assertion-one-credential").unwrap();
    assert_eq!((once.verdict, once.reason.as_str()), (Verdict::Fail, "4 of 4 are taken"));
    let nobody = Odd::new(|_| (400, REFUSED)).await.probe(|_| {}).await;
    assert_eq!((nobody.ending, nobody.grade), (Ending::NoControl, None));
    assert!(nobody.remarks.iter().any(|remark| remark.contains("did not fetch the keys")), "{:?}", nobody.remarks);
    assert_eq!(nobody.count(Verdict::Pass), 0, "nothing is shown by refusing everything");
}

#[tokio::test]
async fn who_changes_its_mind_shows_nothing() {
    // The first control is taken, and nothing after it.
    let report = Odd::new(|n| if n == 0 { (200, GIVEN) } else { (400, REFUSED) }).await;
    let report = report.probe(|options| {
        options.selection = Selection::new(vec!["rfc7515".into()], Vec::new()).unwrap();
    });
    let report = report.await;
    assert_eq!(verdicts(&report), [Verdict::Skipped, Verdict::Void]);
    assert_eq!(report.grade, None);
}

#[tokio::test]
async fn what_is_no_answer_is_no_verdict() {
    for (status, body) in [(200, "<!doctype html><title>Sign in</title>"), (503, "{}"), (302, "")] {
        let report = Odd::new(move |n| if n == 0 { (200, GIVEN) } else { (status, body) }).await;
        let report = report.probe(|_| {}).await;
        assert_eq!(report.count(Verdict::Pass), 0, "{status}");
        assert_eq!(report.count(Verdict::Fail), 0, "{status}");
        assert_eq!(report.grade, None, "{status}");
    }
}

#[tokio::test]
async fn whoever_stops_it_gets_what_was_found() {
    let report = Odd::new(|_| (200, GIVEN)).await;
    let (stop, stopped) = watch::channel(false);
    let report = report.probe(move |options| {
        options.stop = stopped;
        options.tell = Box::new(move |progress| {
            if progress.done == 5 {
                let _ = stop.send(true);
            }
        });
    });
    let report = report.await;
    assert_eq!(report.ending, Ending::Interrupted);
    assert!(report.count(Verdict::Fail) > 0, "what came before counts");
    assert_eq!(report.checks.len(), all().len(), "and nothing is left out");
}

#[tokio::test]
async fn metadata_alone_are_read_where_nothing_is_to_be_sent() {
    let service = Odd::new(|n| panic!("asked {n}")).await;
    let report = service.probe(|options| (options.passive, options.selection) = (true, Selection::default())).await;
    assert_eq!((report.ending, report.issuer.is_none()), (Ending::Passive, true));
    assert!(report.checks.iter().any(|c| c.name == "metadata-name-their-issuer" && c.verdict == Verdict::Pass));
    assert!(
        report.remarks.iter().any(|remark| remark.starts_with("An agent can bring an ID-JAG to")),
        "{:?}",
        report.remarks
    );
}

/// A service in another language, by somebody who knew the protocol's text alone, and mended by the report alone: `tests/strangers`.
#[tokio::test]
async fn a_strangers_service_has_its_a() {
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};
    struct Running(std::process::Child);
    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let issuer = Issuer::new().await;
    let python = crate::config::shell_variable("PYTHON").unwrap_or_else(|| "/usr/bin/python3".into());
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/strangers/service.py"));
    command.args(["--port", "0", "--trust", issuer.url.as_str()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut service = Running(command.spawn().unwrap());
    let mut origin = String::new();
    std::io::BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut origin).unwrap();
    let origin = origin.trim();
    let (_, nobody) = issuer.sandbox(Dialect::V01, Broken::default()).await;
    let mut options = issuer.options(origin, Dialect::V01, nobody).await;
    options.restart = None;
    options.known.api = format!("{origin}/api/notes").parse().ok();
    options.kill_within = Duration::from_secs(10);
    options.patience = Duration::from_secs(35);
    let report = Box::pin(run(options)).await.unwrap();
    let wrong = report.checks.iter().filter(|c| !matches!(c.verdict, Verdict::Pass | Verdict::Skipped)).map(line);
    assert_eq!(report.grade, Some(report::Grade::A), "{:?} {:#?}", report.remarks, wrong.collect::<Vec<_>>());
}
