//! What is measured, in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use avouch::clock::Clock;
use avouch::domain::claims::{ID_JAG, IdJag};
use avouch::jose::{Jwks, Unverified};
use avouch::rng::Rng;
use serde_json::{Value, json};

use crate::assertion::{self, AUDIENCE};
use crate::beside::Beside;
use crate::client::{Connection, request};
use crate::load::{self, Processes, Requests, float};
use crate::machine::{self, Meter, command_on};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{ACCESS_TOKEN, Client, ID_TOKEN, Process, Provider, first_line, users};
use crate::report::Row;
use crate::seed::{self, Size};
use crate::{Outcome, report};

/// Users who sign in and agree by the forms.
const USERS: usize = 50;
/// Users whose delegations take turns where nothing is warm.
const COLD: Size = Size { users: 20_000, assertions: 0 };
/// What a large installation has.
const LARGE: Size = Size { users: 100_000, assertions: 10 };

/// One line of the table, before it is measured.
struct Scenario {
    name: String,
    port: u16,
    connections: usize,
    requests: Requests,
    beside: Option<Arc<Beside>>,
    processes: Processes,
    /// Which of the providers mints, if one does.
    provider: Option<usize>,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let meter = Meter::new()?;
    println!("{}", machine::description(&options.folder, meter));
    println!(
        "{} connections, {} round(s) of {} s{}",
        options.connections,
        options.rounds,
        options.seconds,
        if options.pin { "; servers on core 0, load generator and PostgreSQL on core 1" } else { "" }
    );
    let core = options.pin.then_some(machine::SERVER_CORE);
    let cluster = if options.sqlite_only { None } else { Some(Cluster::start(&options.folder).await?) };
    let (providers, sizes) = providers(options, cluster.as_ref(), core).await?;
    let idle: Vec<f64> = providers.iter().map(|p| machine::memory(p.pid(), "VmRSS")).collect();
    let mut command = command_on(core, std::env::current_exe()?.as_os_str());
    command.arg("--floor-server");
    let (floor, port) = first_line(command)?;
    let mut scenarios = floor_scenarios(&floor, port.parse()?, &providers[0], options);
    for (n, provider) in providers.iter().enumerate() {
        let database = cluster.as_ref().filter(|_| provider.database.starts_with("postgres")).map(Cluster::pid);
        let processes = Processes { server: provider.pid(), database };
        scenarios.extend(mints(n, provider, sizes[n], processes, options).await?);
    }
    if let Some(only) = &options.only {
        scenarios.retain(|s| s.name.starts_with("floor") || s.name.contains(only.as_str()));
    }
    let (rows, signing, minted) = measure(&scenarios, &providers, options, meter).await?;
    report::print(&rows, &signing);
    println!();
    for (n, provider) in providers.iter().enumerate() {
        let used = provider.used().await?;
        println!(
            "{}: {} answers with an assertion, {used} in the records; memory {:.1} MiB idle, {:.1} MiB after the load, {:.1} MiB at most",
            provider.name,
            minted[n],
            idle[n],
            machine::memory(provider.pid(), "VmRSS"),
            machine::memory(provider.pid(), "VmHWM"),
        );
        if used != minted[n] {
            return Err(
                format!("{}: an answer is missing from the records, or the other way round", provider.name).into()
            );
        }
    }
    Ok(())
}

/// One for each engine and size. A size beyond what the forms make is written into the database when its scenarios are listed.
async fn providers(
    options: &Options,
    cluster: Option<&Cluster>,
    core: Option<&str>,
) -> Outcome<(Vec<Arc<Provider>>, Vec<Option<Size>>)> {
    let people = users(USERS)?;
    let mut sizes = vec![("", None), (", 20,000 users", Some(COLD))];
    if options.large {
        sizes.push((", large", Some(LARGE)));
    }
    let (mut providers, mut filled) = (Vec::new(), Vec::new());
    for engine in ["SQLite", "PostgreSQL"] {
        for (n, (name, size)) in sizes.iter().enumerate() {
            let url = match (engine, cluster) {
                ("SQLite", _) => None,
                (_, Some(cluster)) => Some(cluster.database(&format!("size{n}")).await?),
                _ => continue,
            };
            let name = format!("{engine}{name}");
            let provider = Provider::start(name, url.as_deref(), &people, &options.folder, core)?;
            providers.push(Arc::new(provider));
            filled.push(*size);
        }
    }
    Ok((providers, filled))
}

/// Measures everything in turns. Answers with the rows, the bare signatures, and the answers of each provider.
async fn measure(
    scenarios: &[Scenario],
    providers: &[Arc<Provider>],
    options: &Options,
    meter: Meter,
) -> Outcome<(Vec<Row>, Vec<f64>, Vec<u64>)> {
    let mut rows: Vec<Row> = scenarios.iter().map(|s| Row::new(&s.name)).collect();
    let mut signing = Vec::new();
    let mut minted = vec![0; providers.len()];
    let length = Duration::from_secs(options.seconds);
    for _ in 0..options.rounds {
        signing.push(bare_signing(length));
        for (scenario, row) in scenarios.iter().zip(&mut rows) {
            let Scenario { port, connections, requests, beside, processes, .. } = scenario;
            let failed = |problem: Box<dyn std::error::Error + Send + Sync>| {
                let log = scenario.provider.map(|n| providers[n].log()).unwrap_or_default();
                format!("{}: {problem}\n{log}", scenario.name)
            };
            if let Some(beside) = beside {
                row.beside.push(load::alone(beside, length, *processes, meter).await.map_err(failed)?);
            }
            let sample = load::run(*port, requests, *connections, beside.as_deref(), length, *processes, meter).await;
            let sample = sample.map_err(failed)?;
            if let Some(n) = scenario.provider {
                look_at(&providers[n], &sample.body).await.map_err(|e| format!("{}: {e}", scenario.name))?;
                minted[n] += sample.answers;
            }
            row.samples.push(sample);
        }
    }
    Ok((rows, signing, minted))
}

fn same(request: Vec<u8>) -> Requests {
    Arc::new(move |_| request.clone())
}

/// What needs no decision: the floor, and two answers of the server's own.
fn floor_scenarios(floor: &Process, port: u16, server: &Provider, options: &Options) -> Vec<Scenario> {
    let make = |name: &str, port, path, pid| Scenario {
        name: name.into(),
        port,
        connections: options.connections,
        requests: same(request("GET", path, port, &[], "")),
        beside: None,
        processes: Processes { server: pid, database: None },
        provider: None,
    };
    vec![
        make(report::BARE, port, "/", floor.pid()),
        make(report::FLOOR, port, "/signed", floor.pid()),
        make(report::HEALTH, server.port, "/healthz", server.pid()),
        make(report::JWKS, server.port, "/.well-known/jwks.json", server.pid()),
    ]
}

/// One request after the other, going on where the measurement before ended.
fn in_turn(requests: Vec<Vec<u8>>) -> Requests {
    let next = AtomicUsize::new(0);
    Arc::new(move |_| requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()].clone())
}

/// Signs users in and lists what is then measured.
async fn mints(
    n: usize,
    provider: &Arc<Provider>,
    size: Option<Size>,
    processes: Processes,
    options: &Options,
) -> Outcome<Vec<Scenario>> {
    let make = |name: &str, connections, requests| Scenario {
        name: format!("{}: {name}", provider.name),
        port: provider.port,
        connections,
        requests,
        beside: None,
        processes,
        provider: Some(n),
    };
    let all = options.connections;
    let mut scenarios = Vec::new();
    if let Some(size) = size {
        let tokens = seed::fill(&provider.database, size).await?;
        let cold =
            tokens.iter().map(|token| provider.mint(Client::Secret, &json!({"access_token": token}), ACCESS_TOKEN));
        scenarios.push(make(report::COLD, all, in_turn(cold.collect())));
        if size.assertions == 0 {
            return Ok(scenarios);
        }
    }
    let signed = |tokens: &Arc<Value>, kind: &'static str| -> Requests {
        let (provider, tokens) = (provider.clone(), tokens.clone());
        Arc::new(move |_| provider.mint(Client::Key, &tokens, kind))
    };
    let key = Arc::new(provider.agree(0, Client::Key).await?);
    let mut tokens = Vec::new();
    for user in 0..USERS {
        tokens.push(provider.agree(user, Client::Secret).await?);
    }
    let many: Vec<Vec<u8>> = tokens.iter().map(|tokens| provider.mint(Client::Secret, tokens, ACCESS_TOKEN)).collect();
    let hot = many[0].clone();
    let refresh_tokens = tokens.iter().filter_map(|tokens| Some(tokens["refresh_token"].as_str()?.to_owned()));
    let beside = Arc::new(Beside::new(provider.clone(), refresh_tokens));
    scenarios.extend([
        make(report::HOT, all, same(hot.clone())),
        make("secret + ID token", all, same(provider.mint(Client::Secret, &tokens[0], ID_TOKEN))),
        make(report::KEY, all, signed(&key, ACCESS_TOKEN)),
        make("private_key_jwt + ID token", all, signed(&key, ID_TOKEN)),
        make(report::MANY, all, in_turn(many.clone())),
        Scenario { beside: Some(beside), ..make(report::MIXED, all, in_turn(many)) },
        make(report::ALONE, 1, same(hot)),
    ]);
    Ok(scenarios)
}

/// Microseconds of CPU that one signature takes on one thread.
fn bare_signing(length: Duration) -> f64 {
    let key = assertion::key();
    let (start, before, mut count) = (Instant::now(), machine::thread_nanos(), 0);
    let now = Clock::System.now();
    while start.elapsed() < length {
        let claims = assertion::claims(&Rng::Os, now);
        std::hint::black_box(assertion::signed(&key, ID_JAG, &claims));
        count += 1;
    }
    float(machine::thread_nanos() - before) / 1000.0 / float(count)
}

/// Verifies one of the assertions, as the service would.
async fn look_at(provider: &Provider, body: &str) -> Outcome<()> {
    let mut connection = Connection::open(provider.port).await?;
    connection.send(&request("GET", "/.well-known/jwks.json", provider.port, &[], "")).await?;
    let jwks = Jwks::parse(&connection.json()?);
    let answer: Value = serde_json::from_str(body)?;
    let token = answer["access_token"].as_str().ok_or("no access_token")?;
    let unverified = Unverified::parse(token)?;
    let key = jwks.find(unverified.kid(), unverified.alg()).ok_or("signed by a key that is not published")?;
    let claims: IdJag = unverified.verify(key, Some(ID_JAG))?;
    claims.check(&provider.issuer(), Clock::System.now())?;
    if claims.aud == AUDIENCE { Ok(()) } else { Err("an assertion for somebody else".into()) }
}
