//! What is measured, in turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch::clock::Clock;
use avouch::domain::claims::{ID_JAG, IdJag};
use avouch::jose::{Jwks, Unverified};
use avouch::rng::Rng;
use serde_json::Value;

use crate::client::{Connection, request};
use crate::load::{self, Processes, Requests, float};
use crate::machine::{self, Meter, command_on};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{ACCESS_TOKEN, AUDIENCE, Client, ID_TOKEN, Process, Provider, first_line, users};
use crate::report::Row;
use crate::{Outcome, floor, report};

/// Users whose delegations take turns in the scenario of many.
const USERS: usize = 50;

/// One line of the table, before it is measured.
struct Scenario {
    name: String,
    port: u16,
    connections: usize,
    requests: Requests,
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
    let people = users(USERS)?;
    let mut providers = vec![Provider::start("SQLite", None, &people, &options.folder, core)?];
    if let Some(cluster) = &cluster {
        providers.push(Provider::start("PostgreSQL", Some(&cluster.url), &people, &options.folder, core)?);
    }
    let idle: Vec<f64> = providers.iter().map(|p| machine::memory(p.pid(), "VmRSS")).collect();
    let mut command = command_on(core, std::env::current_exe()?.as_os_str());
    command.arg("--floor-server");
    let (floor, port) = first_line(command)?;
    let providers: Vec<Arc<Provider>> = providers.into_iter().map(Arc::new).collect();
    let mut scenarios = floor_scenarios(&floor, port.parse()?, &providers[0], options);
    for (n, provider) in providers.iter().enumerate() {
        let database = cluster.as_ref().filter(|_| n == 1).map(Cluster::pid);
        scenarios.extend(mints(n, provider, database, options).await?);
    }
    if let Some(only) = &options.only {
        scenarios.retain(|s| s.name.starts_with("floor") || s.name.contains(only.as_str()));
    }

    let mut rows: Vec<Row> = scenarios.iter().map(|s| Row::new(&s.name)).collect();
    let mut signing = Vec::new();
    let mut minted = vec![0; providers.len()];
    for _ in 0..options.rounds {
        signing.push(bare_signing(Duration::from_secs(options.seconds)));
        for (scenario, row) in scenarios.iter().zip(&mut rows) {
            let length = Duration::from_secs(options.seconds);
            let Scenario { port, connections, requests, processes, .. } = scenario;
            let sample = load::run(*port, requests, *connections, length, *processes, meter).await;
            let sample = sample.map_err(|problem| {
                let log = scenario.provider.map(|n| providers[n].log()).unwrap_or_default();
                format!("{}: {problem}\n{log}", scenario.name)
            })?;
            if let Some(n) = scenario.provider {
                look_at(&providers[n], &sample.body).await.map_err(|e| format!("{}: {e}", scenario.name))?;
                minted[n] += sample.answers;
            }
            row.samples.push(sample);
        }
    }
    report::print(&rows, &signing);
    println!();
    for (n, provider) in providers.iter().enumerate() {
        let used = provider.used().await?;
        println!(
            "{}: {} answers with an assertion, {used} in the records; memory {:.1} MiB idle, {:.1} MiB after the load, {:.1} MiB at most",
            provider.engine,
            minted[n],
            idle[n],
            machine::memory(provider.pid(), "VmRSS"),
            machine::memory(provider.pid(), "VmHWM"),
        );
        if used != minted[n] {
            return Err(
                format!("{}: an answer is missing from the records, or the other way round", provider.engine).into()
            );
        }
    }
    Ok(())
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

/// Signs users in and lists what is then measured.
async fn mints(n: usize, provider: &Arc<Provider>, database: Option<u32>, options: &Options) -> Outcome<Vec<Scenario>> {
    let engine = provider.engine;
    let make = |name: &str, connections, requests| Scenario {
        name: format!("{engine}: {name}"),
        port: provider.port,
        connections,
        requests,
        processes: Processes { server: provider.pid(), database },
        provider: Some(n),
    };
    let signed = |tokens: &Arc<Value>, kind: &'static str| -> Requests {
        let (provider, tokens) = (provider.clone(), tokens.clone());
        Arc::new(move |_| provider.mint(Client::Key, &tokens, kind))
    };
    let secret = provider.agree(0, Client::Secret).await?;
    let key = Arc::new(provider.agree(0, Client::Key).await?);
    let mut many = vec![provider.mint(Client::Secret, &secret, ACCESS_TOKEN)];
    for user in 1..USERS {
        many.push(provider.mint(Client::Secret, &provider.agree(user, Client::Secret).await?, ACCESS_TOKEN));
    }
    let hot = many[0].clone();
    let all = options.connections;
    Ok(vec![
        make(report::HOT, all, same(hot.clone())),
        make("secret + ID token", all, same(provider.mint(Client::Secret, &secret, ID_TOKEN))),
        make("private_key_jwt + access token", all, signed(&key, ACCESS_TOKEN)),
        make("private_key_jwt + ID token", all, signed(&key, ID_TOKEN)),
        make("secret + access token, 50 users", all, Arc::new(move |n| many[n % USERS].clone())),
        make(report::ALONE, 1, same(hot)),
    ])
}

/// Microseconds of CPU that one signature takes on one thread.
fn bare_signing(length: Duration) -> f64 {
    let key = floor::key();
    let (start, before, mut count) = (Instant::now(), machine::thread_nanos(), 0);
    let now = Clock::System.now();
    while start.elapsed() < length {
        let claims = floor::claims(&Rng::Os, now);
        std::hint::black_box(key.sign(ID_JAG, &claims).expect("claims are signed"));
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
