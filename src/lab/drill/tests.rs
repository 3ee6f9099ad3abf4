//! Drills against the sandbox: one that is strict goes along with everything in every dialect, and one that is deaf falls short at the step
//! that names its deafness. Nobody waits: a wait moves the clock that drill and sandbox share.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::report::{Ending, Kind, Report, Schedule, Service, Standing};
use super::*;
use crate::domain::time::Seconds;
use crate::lab::flaws::{Broken, Dialect, Document, Rule};
use crate::lab::sandbox;
use crate::lab::testing::{self, net, serve};
use crate::net::{Method, Request};

/// What takes seconds of the service's own time, and is shown by the strict ones.
const SLOW: [&str; 3] = ["jwks-hangs", "jwks-drips", "jwks-slow"];

async fn a_sandbox(dialect: Dialect, broken: Broken, clock: &Clock) -> String {
    let strict = sandbox::Options::strict(clock.clone(), Rng::seeded(1));
    testing::a_sandbox(sandbox::Options { dialect, broken, clients: vec![testing::client("c")], ..strict }).await.0
}

fn named(origin: &str, dialect: Option<Dialect>, client: Option<Client>, issuer: &str) -> Named {
    let url = origin.to_owned();
    Named {
        url: url.clone(),
        understand: Box::new(move || Box::pin(async move { Ok(testing::understood(&url).await) })),
        known: Known { dialect, ..Known::default() },
        client,
        issuer: IssuerUrl::parse(issuer).unwrap(),
        key: LabKey::of_seed(issuer.as_bytes()).unwrap(),
    }
}

/// A drill whose waits move a clock.
async fn options(kind: Kind, schedule: Schedule, clock: &Clock) -> (Options, String) {
    let hosted = Hosted::default();
    let router = hosted.router();
    let issuer = format!("{}/lab", serve(|_| router).await);
    let user = |name: &str| User { sub: name.into(), email: Some(format!("{name}@lab.invalid")) };
    let moving = clock.clone();
    let options = Options {
        kind,
        schedule,
        patience: Patience {
            cooldown: Duration::from_secs(31),
            cache: Duration::from_mins(11),
            document: Duration::from_secs(301),
            kill: Duration::from_millis(400),
        },
        services: Vec::new(),
        issuer: IssuerUrl::parse(&issuer).unwrap(),
        skip: Vec::new(),
        hosted,
        user: user("drill"),
        other_user: user("other"),
        gap: Duration::ZERO,
        reached: None,
        net: net(),
        clock: clock.clone(),
        wait: Arc::new(move |span| {
            moving.advance(Seconds(i64::try_from(span.as_millis().div_ceil(1000)).unwrap()));
            Box::pin(tokio::task::yield_now())
        }),
        rng: Rng::Os,
        stop: watch::channel(false).1,
        tell: Arc::new(|_| {}),
        keep: Arc::new(|_| {}),
    };
    (options, issuer)
}

async fn drill(kind: Kind, schedule: Schedule, dialect: Dialect, broken: Broken, skip: &[&str]) -> Report {
    let clock = Clock::shifted();
    let origin = a_sandbox(dialect, broken, &clock).await;
    let (mut options, issuer) = options(kind, schedule, &clock).await;
    options.services = vec![named(&origin, Some(dialect), None, &issuer)];
    options.skip = skip.iter().map(ToString::to_string).collect();
    Box::pin(run(options)).await.unwrap()
}

fn line(step: &report::Step) -> String {
    format!("{:?} {}: {} ({:?} ms)", step.verdict, step.name, step.reason, step.measured_ms)
}

fn lines(service: &Service) -> String {
    service.remarks.iter().cloned().chain(service.steps.iter().map(line)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_strict_one_is_ready_in_every_dialect() {
    let mut under_way = JoinSet::new();
    for dialect in Dialect::ALL {
        for kind in [Kind::Rotation, Kind::Compromise] {
            for schedule in [Schedule::Fast, Schedule::Realistic] {
                under_way.spawn(async move { (dialect, drill(kind, schedule, dialect, Broken::default(), &[]).await) });
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        let (dialect, report) = done.unwrap();
        let service = &report.services[0];
        let what = format!("{dialect:?} {:?} {:?}\n{}", report.drill, report.schedule, lines(service));
        assert_eq!((report.ending, service.standing), (Ending::Complete, Standing::Ready), "{what}");
        for step in &service.steps {
            let waits = all(report.drill).iter().any(|known| known.name == step.name && known.waits != Waits::No);
            let notices = dialect == Dialect::Plain && step.name.contains("notice");
            let skipped = notices || waits && report.schedule == Schedule::Fast;
            let expected = if skipped { Verdict::Skipped } else { Verdict::Pass };
            assert_eq!(step.verdict, expected, "{}\n{what}", step.name);
            assert!(step.at_ms.is_some(), "{what}");
        }
    }
}

/// The rules of a sandbox that a step of a drill names.
fn rules_named(kind: Kind) -> Vec<Rule> {
    let named: BTreeSet<&str> = all(kind).iter().flat_map(|step| step.counterparts).copied().collect();
    Broken::all().rules().filter(|rule| named.contains(rule.name())).collect()
}

/// What shows nothing of a rule and takes seconds. Whoever waits for ever for a key set does so for everybody who needs it: nothing else can
/// be shown then.
fn skipped(kind: Kind, rule: Rule) -> Vec<&'static str> {
    let waits = rule == Rule::WaitForEver;
    let keeps = |step: &Step| step.waits == Waits::No || step.name == "jwks-hangs";
    let skip = |step: &Step| if waits { !keeps(step) } else { SLOW.contains(&step.name) };
    all(kind).into_iter().filter(skip).map(|step| step.name).collect()
}

/// Each deaf one falls short at the steps that name its deafness, and at no other.
async fn without_each_rule(dialect: Dialect) {
    let mut under_way = JoinSet::new();
    for kind in [Kind::Rotation, Kind::Compromise] {
        for rule in rules_named(kind) {
            under_way.spawn(async move {
                let broken = [rule].into_iter().collect();
                let report = drill(kind, Schedule::Realistic, dialect, broken, &skipped(kind, rule)).await;
                (kind, rule, report)
            });
        }
    }
    let (mut wrong, mut of) = (Vec::new(), 0);
    while let Some(done) = under_way.join_next().await {
        let (kind, rule, report) = done.unwrap();
        of += 1;
        let names_it = |step: &report::Step| {
            all(kind).iter().any(|known| known.name == step.name && known.counterparts.contains(&rule.name()))
        };
        for step in &report.services[0].steps {
            let found = matches!(step.verdict, Verdict::Fail | Verdict::Warning);
            // What is left out shows nothing of a rule, and neither does what has no good one beside it: a deaf one takes none.
            let is_shown = found || matches!(step.verdict, Verdict::Pass | Verdict::CouldNotRun) && names_it(step);
            if is_shown && found != names_it(step) {
                wrong.push(format!("{kind:?} {}: {}\n{}", rule.name(), step.name, lines(&report.services[0])));
            }
        }
        let short = report.services[0].steps.iter().any(|step| names_it(step) && step.verdict != Verdict::Skipped);
        if !short && (dialect != Dialect::Plain || rule != Rule::IgnoreRevocation) {
            wrong.push(format!("{kind:?} {}: nothing shows it\n{}", rule.name(), lines(&report.services[0])));
        }
    }
    assert!(wrong.is_empty(), "{} of {of}:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(of > 8, "{of} rules");
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

/// Somebody who takes connections and says nothing.
async fn a_hanging_one() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    origin
}

#[tokio::test]
async fn one_that_hangs_delays_no_other_and_an_interrupted_drill_has_a_report() {
    let clock = Clock::shifted();
    let (mut options, issuer) = options(Kind::Rotation, Schedule::Realistic, &clock).await;
    let good = a_sandbox(Dialect::Flat, Broken::default(), &clock).await;
    options.services = vec![
        named(&a_hanging_one().await, None, None, &format!("{issuer}/a")),
        named(&good, None, None, &format!("{issuer}/b")),
    ];
    options.skip = SLOW.map(str::to_owned).to_vec();
    let (stop, stopped) = watch::channel(false);
    options.stop = stopped;
    // Nobody is waited for but the second one.
    options.tell = Arc::new(move |progress| {
        if progress.service == 1 && progress.done == progress.of {
            stop.send_replace(true);
        }
    });
    let report = Box::pin(run(options)).await.unwrap();
    assert_eq!(report.ending, Ending::Interrupted);
    assert_eq!(report.services[1].standing, Standing::Ready, "{}", lines(&report.services[1]));
    assert_eq!(report.services[0].standing, Standing::Unknown);
    assert_eq!(report.services[0].steps.len(), all(Kind::Rotation).len());
    assert!(report.services[0].steps.iter().all(|step| step.verdict == Verdict::Skipped && step.at_ms.is_none()));
    assert!(!report.is_whole() && !report.fell_short(true));
}

#[tokio::test]
async fn what_was_reached_is_kept_and_an_interrupted_drill_goes_on() {
    let clock = Clock::shifted();
    let origin = a_sandbox(Dialect::Flat, [Rule::DropConsentsWhenKeysChange].into_iter().collect(), &clock).await;
    let mut kept: Option<Report> = None;
    let (first, issuer) = options(Kind::Rotation, Schedule::Realistic, &clock).await;
    // Stopped in the middle of the first keys, of the removal, and of the broken sets.
    for step in ["consents-survive-a-new-key", "removed-key-is-refused", "jwks-kid-twice", "never"] {
        let (mut options, _) = options(Kind::Rotation, Schedule::Realistic, &clock).await;
        options.hosted = first.hosted.clone();
        options.services = vec![named(&origin, None, None, &issuer)];
        options.skip = SLOW.map(str::to_owned).to_vec();
        options.reached = kept.clone();
        let (stop, stopped) = watch::channel(false);
        let saved = Arc::new(Mutex::new(None));
        let (shelf, ahead) = (saved.clone(), stop.clone());
        options.stop = stopped;
        options.keep = Arc::new(move |report| *shelf.lock().unwrap() = Some(report.clone()));
        options.tell = Arc::new(move |progress| {
            if progress.step.is_some_and(|done| done.name == step) {
                ahead.send_replace(true);
            }
        });
        let report = Box::pin(run(options)).await.unwrap();
        let ending = if step == "never" { Ending::Complete } else { Ending::Interrupted };
        assert_eq!(report.ending, ending, "{step}\n{}", lines(&report.services[0]));
        if let Some(before) = &kept {
            assert_eq!(report.began, before.began);
            assert!(report.took_ms > before.took_ms);
            for done in before.services[0].steps.iter().filter(|done| done.at_ms.is_some()) {
                let now = report.services[0].steps.iter().find(|now| now.name == done.name).unwrap();
                assert_eq!(now, done, "kept as it was");
            }
        }
        // As it is in a file.
        let text = serde_json::to_string(&saved.lock().unwrap().clone().unwrap()).unwrap();
        kept = Some(serde_json::from_str(&text).unwrap());
        if step == "never" {
            let service = &report.services[0];
            assert_eq!(service.standing, Standing::Warned, "{}", lines(service));
            assert!(service.steps.iter().all(|step| step.at_ms.is_some()), "{}", lines(service));
            assert!(service.moments.is_sorted_by_key(|moment| moment.at_ms));
        }
    }
}

#[tokio::test]
async fn a_fast_one_says_what_it_cannot_see() {
    let never = || [Rule::NeverRefetchJwks].into_iter().collect();
    let report = drill(Kind::Rotation, Schedule::Fast, Dialect::Flat, never(), &[]).await;
    let step = report.services[0].steps.iter().find(|step| step.name == "new-key-is-fetched-and-taken").unwrap();
    assert_eq!(step.verdict, Verdict::Warning, "{}", step.reason);
    assert!(step.reason.contains("--schedule realistic"), "{}", step.reason);
}

#[test]
fn how_long_it_takes_is_said_beforehand() {
    let patience = Patience {
        cooldown: Duration::from_secs(31),
        cache: Duration::from_mins(11),
        document: Duration::from_secs(301),
        kill: Duration::ZERO,
    };
    let steps = all(Kind::Rotation);
    assert_eq!(estimate(&steps, Schedule::Fast, &patience), Duration::ZERO);
    let fetches = steps.iter().filter(|step| step.waits == Waits::Fetch).count();
    let sum = 31 * u64::try_from(fetches).unwrap() + 660 + 301;
    assert_eq!(estimate(&steps, Schedule::Realistic, &patience), Duration::from_secs(sum));
    let mut ids: Vec<String> = steps.iter().map(Step::id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), steps.len(), "each has an id of its own");
}

#[tokio::test]
async fn whoever_has_the_key_set_already_is_told_so() {
    let hosted = Hosted::default();
    let router = hosted.router();
    let url = url::Url::parse(&format!("{}/jwks.json", serve(|_| router).await)).unwrap();
    let fetch = async |tag: Option<&str>| {
        let headers = tag.map(|tag| ("if-none-match", tag.to_owned())).into_iter().collect();
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers,
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            max_body: 9000,
        };
        net().send(request).await.unwrap()
    };
    let mut set = Document::new(serde_json::json!({"keys": [{"kid": "a"}]}));
    hosted.put("/jwks.json", set.clone());
    let first = fetch(None).await;
    let tag = first.headers.get("etag").unwrap();
    assert_eq!((first.status, fetch(Some(tag)).await.status), (200, 304));
    assert_eq!(fetch(Some(&format!("\"other\", W/{tag}"))).await.status, 304);
    let told = hosted.fetches("/jwks.json").pop().unwrap();
    assert!(told.status == 304 && told.kids.is_empty());
    set.response = crate::lab::flaws::Response::Status(500);
    hosted.put("/jwks.json", set);
    assert_eq!(fetch(Some(tag)).await.status, 500, "what is wrong on purpose is not passed over");
    hosted.put("/jwks.json", Document::new(serde_json::json!({"keys": [{"kid": "b"}]})));
    assert_eq!(fetch(Some(tag)).await.status, 200);
}
