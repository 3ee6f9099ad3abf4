//! One path issuer and ten thousand, each on a server of its own, side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::domain::display_name::DisplayName;
use avouch::domain::issuer::IssuerId;
use avouch::flow::issuers_admin::{self, Looks};
use avouch::flow::start::connect;
use avouch::rng::Rng;
use tempfile::TempDir;

use crate::Outcome;
use crate::client::request;
use crate::load::{self, Processes, Requests, float};
use crate::machine::{self, Meter};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{Process, configuration, free_port, mint_at, users};
use crate::report::median;
use crate::seed;
use crate::start::first_answer;

/// The path issuers of both servers.
const COUNTS: [usize; 2] = [1, 10_000];
/// Users who mint in turn: of the one issuer, and of as many different ones.
const MINTERS: usize = 100;
const STARTS: usize = 10;
/// Seconds in which an idle server is watched.
const IDLE: u64 = 10;
const AIM: f64 = 1.2;

/// A server with its issuers, running or not.
struct Server {
    folder: TempDir,
    port: u16,
    database: String,
    issuers: Vec<String>,
    /// With the issuer of each.
    tokens: Vec<(String, String)>,
    process: Option<Process>,
    minted: u64,
}

/// The requests that take turns at a server.
type Make = fn(&Server) -> Vec<Vec<u8>>;

/// What was measured of each server, in the order of [`COUNTS`].
struct Row {
    name: &'static str,
    unit: &'static str,
    values: [f64; 2],
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    println!("{}", machine::description(&options.folder, Meter::new()?));
    let cluster = if options.sqlite_only { None } else { Some(Cluster::start(&options.folder).await?) };
    for engine in ["SQLite", "PostgreSQL"] {
        let mut servers = Vec::new();
        for count in COUNTS {
            let url = match (engine, &cluster) {
                ("SQLite", _) => None,
                (_, Some(cluster)) => Some(cluster.database(&format!("issuers{count}")).await?),
                _ => continue,
            };
            servers.push(Server::make(count, url, options).await?);
        }
        let Ok(mut servers) = <[Server; 2]>::try_from(servers) else { continue };
        let database = cluster.as_ref().filter(|_| engine == "PostgreSQL").map(Cluster::pid);
        let rows = measure(&mut servers, database, options).await?;
        print(engine, &rows);
        for server in &servers {
            let recorded = seed::minted(&server.database).await?;
            if recorded != server.minted {
                return Err(format!(
                    "{engine}: {} answers with an assertion, {recorded} in the records",
                    server.minted
                )
                .into());
            }
        }
    }
    Ok(())
}

impl Server {
    /// Starts a server once, as anyone would, and adds the issuers while it is stopped.
    async fn make(count: usize, database: Option<String>, options: &Options) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("avouch-bench.").tempdir_in(&options.folder)?;
        let (port, path, file) = (free_port()?, folder.path(), folder.path().join("avouch.toml"));
        let database = database.unwrap_or_else(|| format!("sqlite://{}", path.join("avouch.db").display()));
        let people = users(1)?;
        std::fs::write(&file, configuration(port, &database, &path.join("keys"), &people, &crate::assertion::key()))?;
        drop(first_answer(path, port, None).await?);
        let issuers = add(file, count).await?;
        let at: Vec<String> = issuers.iter().step_by(count.div_ceil(MINTERS)).cloned().collect();
        let tokens = seed::fill_issuers(&database, &at, MINTERS / at.len()).await?;
        Ok(Self { folder, port, database, issuers, tokens, process: None, minted: 0 })
    }

    /// Starts it anew. Answers with the milliseconds to its first answer.
    async fn start(&mut self, core: Option<&str>) -> Outcome<f64> {
        self.process = None;
        let (process, milliseconds) = first_answer(self.folder.path(), self.port, core).await?;
        self.process = Some(process);
        Ok(milliseconds)
    }

    /// What it logged since its last start, for when something went wrong.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }
}

/// Adds issuers as the command does, in one process.
async fn add(file: PathBuf, count: usize) -> Outcome<Vec<String>> {
    let host = connect(&Config::load(Some(&file), [])?, Clock::System, Rng::Os).await?;
    let mut issuers = Vec::with_capacity(count);
    for n in 0..count {
        let id = format!("tenant-{n:05}");
        let looks = Looks { name: DisplayName::parse(&format!("Tenant {n}"))?, colour: None, logo: None };
        issuers_admin::add(&host, &IssuerId::parse(&id)?, &looks).await?;
        issuers.push(id);
    }
    host.database.close().await;
    Ok(issuers)
}

async fn measure(servers: &mut [Server; 2], database: Option<u32>, options: &Options) -> Outcome<Vec<Row>> {
    let core = options.pin.then_some(machine::SERVER_CORE);
    let mut rows = idle(servers, core).await?;
    let loads: [(&'static str, bool, Make); 4] = [
        ("mint, one user at one path issuer", true, |s| mints(s, 1)),
        ("mint, 100 users in turn: of one issuer, of 100 issuers", true, |s| mints(s, MINTERS)),
        ("metadata of one path issuer", false, |s| metadata(s, 1)),
        ("metadata, every path issuer in turn (no aim)", false, |s| metadata(s, s.issuers.len())),
    ];
    for (name, is_mint, make) in loads {
        let mut costs = [const { Vec::new() }; 2];
        for _ in 0..options.rounds {
            for (n, server) in servers.iter_mut().enumerate() {
                let processes = Processes { server: server.pid(), database };
                let length = Duration::from_secs(options.seconds);
                let requests = in_turn(make(server));
                let meter = Meter::new()?;
                let sample =
                    load::run(server.port, &requests, options.connections, None, length, processes, meter).await;
                let sample = sample.map_err(|e| format!("{name}: {e}\n{}", server.log()))?;
                costs[n].push([sample.cpu[0], sample.cpu[1]]);
                if is_mint {
                    server.minted += sample.answers;
                }
            }
        }
        let of = |part: usize| costs.each_ref().map(|c| median(c.iter().map(|cpu| cpu[part]).collect()));
        rows.push(Row { name, unit: "CPU us", values: of(0) });
        if database.is_some() {
            rows.push(Row { name, unit: "CPU us, PostgreSQL", values: of(1) });
        }
    }
    let memory = servers.each_ref().map(|s| machine::memory(s.pid(), "VmRSS"));
    rows.push(Row { name: "memory after all of this (no aim)", unit: "MiB", values: memory });
    Ok(rows)
}

/// Starts, and what a server does that nobody asks. Leaves both running.
async fn idle(servers: &mut [Server; 2], core: Option<&str>) -> Outcome<Vec<Row>> {
    let (mut starts, mut memory) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..STARTS {
        for (n, server) in servers.iter_mut().enumerate() {
            starts[n].push(server.start(core).await?);
            tokio::time::sleep(Duration::from_millis(500)).await;
            memory[n].push(machine::memory(server.pid(), "VmRSS"));
        }
    }
    // Once it has looked around after its start.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = servers.each_ref().map(|s| machine::process_nanos(s.pid()));
    tokio::time::sleep(Duration::from_secs(IDLE)).await;
    let after = servers.each_ref().map(|s| machine::process_nanos(s.pid()));
    let used = std::array::from_fn(|n| float(after[n] - before[n]) / 1000.0 / float(IDLE));
    Ok(vec![
        Row { name: "start to first answer", unit: "ms", values: starts.map(median) },
        Row { name: "memory idle", unit: "MiB", values: memory.map(median) },
        Row { name: "idle worker", unit: "CPU us a second", values: used },
    ])
}

fn mints(server: &Server, count: usize) -> Vec<Vec<u8>> {
    server.tokens.iter().take(count).map(|(issuer, token)| mint_at(issuer, server.port, token)).collect()
}

fn metadata(server: &Server, count: usize) -> Vec<Vec<u8>> {
    let path = |issuer| format!("/{issuer}/.well-known/oauth-authorization-server");
    server.issuers.iter().take(count).map(|issuer| request("GET", &path(issuer), server.port, &[], "")).collect()
}

fn in_turn(requests: Vec<Vec<u8>>) -> Requests {
    let next = AtomicUsize::new(0);
    Arc::new(move |_| requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()].clone())
}

fn print(engine: &str, rows: &[Row]) {
    println!("\n| {engine} | | 1 issuer | 10,000 issuers | ratio, aim ≤ {AIM} |\n| --- | --- | ---: | ---: | ---: |");
    for Row { name, unit, values: [one, all] } in rows {
        println!("| {name} | {unit} | {one:.1} | {all:.1} | {:.2} |", all / one);
    }
}
