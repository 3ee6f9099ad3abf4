//! The probe against the sandbox: it passes a strict one in every dialect without a warning, and of one that does not keep a rule it finds
//! exactly that.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::report::{Checked, Ending, Report, Verdict};
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
            let names_it = check.counterparts().contains(&rule.name());
            let found = matches!(checked.verdict, Verdict::Fail | Verdict::Warning);
            let shown = !matches!(checked.verdict, Verdict::Skipped);
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
