//! The probe against the sandbox, which it passes in every dialect without a warning, and against services that behave badly.

mod matrix;

use std::time::Duration;

use tokio::sync::watch;

use super::report::{self, Checked, Ending, Report, Verdict};
use super::*;
use crate::clock::Clock;
use crate::domain::ids::IssuerUrl;
use crate::jose::LabKey;
use crate::lab::flaws::{Answer, Broken, Class, Dialect, Rule};
use crate::lab::hosted::Hosted;
use crate::lab::sandbox::{self, Sandbox};
use crate::lab::testing::{a_sandbox, client, net, serve, understood};
use crate::rng::Rng;
use crate::secret::Secret;

const NOBODY: &str = "nobody@lab.invalid";

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
        let strict = sandbox::Options::strict(Clock::System, Rng::seeded(1));
        let clients = vec![client("c"), client("other")];
        let denied = vec![NOBODY.into()];
        let trust = vec![self.url.clone()];
        a_sandbox(sandbox::Options { trust, dialect, broken, clients, denied, ..strict }).await
    }

    async fn options(&self, origin: &str, dialect: Dialect, sandbox: Sandbox) -> Options {
        let user = |name: &str| User { sub: name.into(), email: Some(format!("{name}@lab.invalid")) };
        let plain = dialect == Dialect::Plain;
        Options {
            named: origin.to_owned(),
            understood: understood(origin).await,
            known: Known { dialect: Some(dialect), ..Known::default() },
            issuer: self.url.clone(),
            key: LabKey::of_seed(&[7]).unwrap(),
            hosted: self.hosted.clone(),
            user: user("probe"),
            other_user: user("other"),
            client: plain.then(|| Client { id: "c".into(), secret: Some(Secret::new("s")) }),
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
        options.selection = Selection::new(&only, &[]).unwrap();
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
        options.selection = Selection::new(&["rfc7515".into()], &[]).unwrap();
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

/// A server that takes whatever a client of its own brings, and an API that has no answer to a GET.
async fn of_another_shape(method: &'static str, believes_assertions: bool) -> String {
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, post};
    let token = move |headers: HeaderMap, body: String| async move {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let has = |name: &str, value: &str| form.iter().any(|(n, v)| n == name && v == value);
        let proven = method == "none" || has("client_secret", "s");
        if has("client_id", "c") && proven && !headers.contains_key("authorization") {
            (StatusCode::OK, r#"{"access_token": "let-me-in", "token_type": "Bearer"}"#)
        } else {
            (StatusCode::UNAUTHORIZED, r#"{"error": "invalid_client"}"#)
        }
    };
    let api = move |headers: HeaderMap| async move {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let is_in = bearer.is_some_and(|it| it == "let-me-in" || believes_assertions && it.starts_with("ey"));
        if is_in { StatusCode::NOT_ACCEPTABLE } else { StatusCode::UNAUTHORIZED }
    };
    serve(move |origin| {
        let metadata = serde_json::json!({"issuer": origin, "token_endpoint": format!("{origin}/token"),
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
            "token_endpoint_auth_methods_supported": [method]});
        axum::Router::new()
            .route(
                "/.well-known/oauth-authorization-server",
                get(move || async move { ([("content-type", "application/json")], metadata.to_string()) }),
            )
            .route("/token", post(token))
            .route("/mcp", get(api))
    })
    .await
}

#[tokio::test]
async fn a_client_comes_as_the_service_wants_it_and_an_api_may_want_more_than_a_get() {
    for (method, believes) in [("none", false), ("client_secret_post", true)] {
        let origin = of_another_shape(method, believes).await;
        let issuer = Issuer::new().await;
        let (_, nobody) = issuer.sandbox(Dialect::V01, Broken::default()).await;
        let mut options = issuer.options(&origin, Dialect::Plain, nobody).await;
        let secret = (method != "none").then(|| Secret::new("s"));
        options.client = Some(Client { id: "c".into(), secret });
        options.known.api = format!("{origin}/mcp").parse().ok();
        options.selection = Selection::new(&["as-a-credential".into()], &[]).unwrap();
        let report = Box::pin(run(options)).await.unwrap();
        let seen = report.checks.iter().find(|checked| checked.name == "as-a-credential").unwrap();
        let expected = if believes { Verdict::Fail } else { Verdict::Pass };
        assert_eq!(seen.verdict, expected, "{method}: {} {:?}", line(seen), report.remarks);
    }
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
