//! How long one server goes on with keys that another has changed: two on one PostgreSQL, each with its worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch::clock::Clock;
use avouch::config::Config;
use avouch::delivery;
use avouch::domain::rotation::SigningAlg;
use avouch::flow::issuers;
use avouch::flow::rotate::{self, Reason};
use avouch::flow::start::{Accepted, open};
use avouch::host::{DEFAULT_ISSUER, Host, Issuer};
use avouch::rng::Rng;
use tokio::sync::watch;

use crate::Outcome;
use crate::machine::{self, Meter};
use crate::options::Options;
use crate::postgres::Cluster;
use crate::provider::{configuration, free_port, users};

const ROTATIONS: usize = 50;
/// What the other server has to have done by then.
const AIM: Duration = Duration::from_secs(2);
/// Between two looks at the other server.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    println!("{}", machine::description(&options.folder, Meter::new()?));
    let cluster = Cluster::start(&options.folder).await?;
    let folder = tempfile::Builder::new().prefix("avouch-bench.").tempdir_in(&options.folder)?;
    let file = folder.path().join("avouch.toml");
    let (database, keys) = (cluster.database("keys").await?, folder.path().join("keys"));
    std::fs::write(&file, configuration(free_port()?, &database, &keys, &users(1)?, &crate::assertion::key()))?;
    let config = Config::load(Some(&file), Vec::new())?;
    let (stop, stopped) = watch::channel(false);
    let mut servers = Vec::new();
    for _ in 0..2 {
        let (host, _) = open(&config, Accepted::default(), Clock::System, Rng::Os).await?;
        tokio::spawn(delivery::run(host.clone(), stopped.clone()));
        servers.push(host);
    }
    let (here, there) = (&servers[0], &servers[1]);
    let reason = Reason::parse("measured")?;
    let (mut published, mut signs) = (Vec::new(), Vec::new());
    for _ in 0..ROTATIONS {
        let kid = rotate::prepare(here, DEFAULT_ISSUER, SigningAlg::Es256).await?;
        published.push(until(there, |issuer| issuer.ring.published.iter().any(|(known, _)| *known == kid)).await?);
        rotate::activate(here, DEFAULT_ISSUER, &kid, Some(&reason)).await?;
        signs.push(until(there, |issuer| *issuer.ring.active.kid() == kid).await?);
    }
    let _ = stop.send(true);
    println!("\n{ROTATIONS} rotations; time until the other server does the same (aim: {} s)", AIM.as_secs());
    for (what, mut times) in [("publishes the key", published), ("signs with it", signs)] {
        times.sort();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        let mark = if slowest <= AIM { "" } else { "  MISSED" };
        println!("  {what:<18} median {median:>8.1?}   slowest {slowest:>8.1?}{mark}");
    }
    Ok(())
}

async fn until(host: &Host, is_so: impl Fn(&Arc<Issuer>) -> bool) -> Outcome<Duration> {
    let start = Instant::now();
    loop {
        let app = issuers::app(host, DEFAULT_ISSUER).await?.ok_or("the default issuer is gone")?;
        if is_so(&app.issuer) {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
}
