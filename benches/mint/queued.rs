//! What a mint costs, and how long it takes, while notices wait to be sent: for one service that hangs, and for many that answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::hang::{answer, keep};
use crate::load::{self, Processes, Requests, Sample};
use crate::machine::{self, Meter};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{ACCESS_TOKEN, Client, Provider, users};
use crate::{Outcome, seed};

/// Notices that wait.
const NOTICES: usize = 20_000;
/// For how many hosts. The one hangs.
const HOSTS: [usize; 2] = [1, 2_000];

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    // Each of the hosts keeps a connection for a while.
    rlimit::increase_nofile_limit(16_384)?;
    let meter = Meter::new()?;
    println!("{}", machine::description(&options.folder, meter));
    println!(
        "{NOTICES} notices are on their way, for one host that hangs or for many that answer; mints beside: {} connections, {} round(s) of {} s\n",
        options.connections, options.rounds, options.seconds
    );
    println!("| | hosts | per second | p50 ms | p99 ms | CPU us, server | x alone: p50 | p99 | told |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let cluster = if options.sqlite_only { None } else { Some(Cluster::start(&options.folder).await?) };
    for hosts in HOSTS {
        measure("SQLite", None, hosts, None, options, meter).await?;
        if let Some(cluster) = &cluster {
            let url = cluster.database(&format!("queued_{hosts}")).await?;
            measure("PostgreSQL", Some(&url), hosts, Some(cluster.pid()), options, meter).await?;
        }
    }
    Ok(())
}

async fn measure(
    name: &str,
    url: Option<&str>,
    hosts: usize,
    database: Option<u32>,
    options: &Options,
    meter: Meter,
) -> Outcome<()> {
    let told = Arc::new(AtomicUsize::new(0));
    let services = TcpListener::bind("0.0.0.0:0").await?;
    let port = services.local_addr()?.port();
    let services = if hosts == 1 { tokio::spawn(keep(services)) } else { tokio::spawn(answer(services, told.clone())) };
    let declared = format!("{}[network]\nallow_private_addresses = true\n", users(1)?);
    let core = options.pin.then_some(machine::SERVER_CORE);
    let provider = Provider::start(name.to_owned(), url, &declared, &options.folder, core)?;
    let processes = Processes { server: provider.pid(), database };
    let tokens = provider.agree(0, Client::Secret).await?;
    let mint = provider.mint(Client::Secret, &tokens, ACCESS_TOKEN);
    let requests: Requests = Arc::new(move |_| mint.clone());
    let length = Duration::from_secs(options.seconds);
    let sample =
        async || load::run(provider.port, &requests, options.connections, None, length, processes, meter).await;
    for _ in 0..options.rounds {
        let alone = sample().await?;
        let before = told.load(Ordering::SeqCst);
        let host = |n| format!("127.0.{}.{}:{port}", 10 + n % hosts / 250, 1 + n % hosts % 250);
        seed::queue(&provider.database, NOTICES, host).await?;
        let beside = sample().await?;
        row(name, hosts, &alone, None);
        row(name, hosts, &beside, Some((&alone, told.load(Ordering::SeqCst) - before)));
        // One that hangs is owed them for a week.
        if hosts == 1 {
            seed::end_queue(&provider.database).await?;
        }
        while seed::queued(&provider.database).await? > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    services.abort();
    Ok(())
}

fn row(name: &str, hosts: usize, sample: &Sample, beside: Option<(&Sample, usize)>) {
    let Sample { per_second, p50_ms, p99_ms, cpu, .. } = sample;
    let (which, apart) = beside.map_or_else(
        || ("alone", "| | | ".to_owned()),
        |(alone, told)| ("beside", format!("| {:.2} | {:.2} | {told} ", p50_ms / alone.p50_ms, p99_ms / alone.p99_ms)),
    );
    println!("| {name}, {which} | {hosts} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.2} | {:.1} {apart}|", cpu[0]);
}
