//! What a mint costs, and how long it takes, while an operator withdraws what other users agreed to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::client::Connection;
use crate::hang::answer;
use crate::load::{self, Processes, Requests, Sample, float};
use crate::machine::{self, Meter};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{ACCESS_TOKEN, Client, Provider, users};
use crate::{Outcome, seed};

/// Whose delegations are withdrawn: a service of its own, which is told of each.
const TOLD: &str = "https://told.example";
/// So many, more than are withdrawn while mints are measured.
const STAND: usize = 30_000;

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let meter = Meter::new()?;
    println!("{}", machine::description(&options.folder, meter));
    println!(
        "{STAND} delegations stand and are withdrawn by the API; mints of another user beside: {} connections, {} round(s) of {} s\n",
        options.connections, options.rounds, options.seconds
    );
    println!(
        "| | per second | p50 ms | p99 ms | CPU us, server | CPU us, PostgreSQL | x alone: p50 | p99 | withdrawn a second | told |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let core = options.pin.then_some(machine::SERVER_CORE);
    let cluster = if options.sqlite_only { None } else { Some(Cluster::start(&options.folder).await?) };
    let mut urls = vec![("SQLite", None)];
    if let Some(cluster) = &cluster {
        urls.push(("PostgreSQL", Some(cluster.database("withdrawals").await?)));
    }
    for (name, url) in urls {
        let told = Arc::new(AtomicUsize::new(0));
        let receiver = TcpListener::bind("127.0.0.1:0").await?;
        let declared = format!(
            "{}[[services]]\naudience = \"{TOLD}\"\nrevocation_uri = \"http://{}/revoke\"\n[network]\nallow_private_addresses = true\n",
            users(1)?,
            receiver.local_addr()?
        );
        let receiver = tokio::spawn(answer(receiver, told.clone()));
        let provider = Provider::start(name.to_owned(), url.as_deref(), &declared, &options.folder, core)?;
        let database = cluster.as_ref().filter(|_| url.is_some()).map(Cluster::pid);
        let processes = Processes { server: provider.pid(), database };
        let measured = measure(&provider, processes, &told, options, meter).await;
        receiver.abort();
        measured.map_err(|problem| format!("{name}: {problem}\n{}", provider.log()))?;
    }
    Ok(())
}

async fn measure(
    provider: &Provider,
    processes: Processes,
    told: &AtomicUsize,
    options: &Options,
    meter: Meter,
) -> Outcome<()> {
    let tokens = provider.agree(0, Client::Secret).await?;
    let mint = provider.mint(Client::Secret, &tokens, ACCESS_TOKEN);
    let requests: Requests = Arc::new(move |_| mint.clone());
    let length = Duration::from_secs(options.seconds);
    let sample =
        async || load::run(provider.port, &requests, options.connections, None, length, processes, meter).await;
    let mut connection = Connection::open(provider.port).await?;
    seed::fill_used(&provider.database, TOLD, STAND).await?;
    for _ in 0..options.rounds {
        // What the round before left to be told would be told while mints are measured alone.
        let mut before = usize::MAX;
        while before != told.load(Ordering::SeqCst) {
            before = told.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let alone = sample().await?;
        // Counted in the database: the call that is under way at the end is never answered.
        let (ended, begin) = (seed::ended(&provider.database).await?, Instant::now());
        let withdraw = async {
            while provider.withdraw(&mut connection, TOLD).await? > 0 {}
            Outcome::Ok(())
        };
        let (beside, took) = tokio::select! {
            sample = sample() => (sample?, begin.elapsed()),
            ended = withdraw => return Err(ended.err().unwrap_or("all was withdrawn before the mints were measured: fewer --rounds or --seconds".into())),
        };
        row(&format!("{}, alone", provider.name), &alone, None);
        let rate = float(seed::ended(&provider.database).await? - ended) / took.as_secs_f64();
        let told = told.load(Ordering::SeqCst) - before;
        row(&format!("{}, beside", provider.name), &beside, Some((&alone, rate, told)));
        // The call that was cut off is over before the next.
        connection = Connection::open(provider.port).await?;
    }
    Ok(())
}

fn row(name: &str, sample: &Sample, beside: Option<(&Sample, f64, usize)>) {
    let Sample { per_second, p50_ms, p99_ms, cpu, .. } = sample;
    let apart = beside.map_or_else(
        || "| | | | ".to_owned(),
        |(alone, rate, told)| {
            format!("| {:.2} | {:.2} | {rate:.0} | {told} ", p50_ms / alone.p50_ms, p99_ms / alone.p99_ms)
        },
    );
    println!("| {name} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.2} | {:.1} | {:.1} {apart}|", cpu[0], cpu[1]);
}
