//! What it takes to find the notices that are due, however many wait and for however few hosts.

use std::time::{Duration, Instant};

use avouch::domain::issuer::{IssuerRecord, Origin};
use avouch::domain::notice::{Format, Round};
use avouch::domain::time::{Seconds, Timestamp};
use avouch::rng::Rng;
use avouch::store::{Database, Hosts, NewAccount, NewDelivery, StoreError};
use sqlx::{Connection as _, PgConnection};

use crate::Outcome;
use crate::options::Options;
use crate::postgres::Cluster;

/// Notices that wait.
const NOTICES: usize = 20_000;
/// For how many hosts.
const HOSTS: [usize; 3] = [1, 200, 2_000];
/// Hosts and notices of each that a worker leases at a time.
const CLAIM: (i64, i64) = (32, 12);
const LEASE: Seconds = Seconds(10);
const ROUNDS: usize = 20;
const NOW: Timestamp = Timestamp(1_000_000);

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    println!(
        "{NOTICES} notices due; a claim takes the {} oldest of at most {} hosts; {ROUNDS} claims, then a look\n",
        CLAIM.1, CLAIM.0
    );
    println!("| | hosts | median ms | slowest ms | taken | a look ms |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for hosts in HOSTS {
        let folder = tempfile::Builder::new().prefix("avouch-bench-outbox.").tempdir_in(&options.folder)?;
        measure("SQLite", hosts, Database::sqlite(&folder.path().join("avouch.db")).await?).await?;
    }
    if options.sqlite_only {
        return Ok(());
    }
    let cluster = Cluster::start(&options.folder).await?;
    for hosts in HOSTS {
        let url = cluster.database(&format!("outbox_{hosts}")).await?;
        let database = Database::postgres(&url).await?;
        fill(&database, hosts).await?;
        // As autovacuum would have done by then.
        let mut owner = PgConnection::connect(&url).await?;
        sqlx::query("ANALYZE").execute(&mut owner).await?;
        time("PostgreSQL", hosts, &database).await?;
        database.close().await;
    }
    Ok(())
}

async fn measure(engine: &str, hosts: usize, database: Database) -> Outcome<()> {
    fill(&database, hosts).await?;
    time(engine, hosts, &database).await?;
    database.close().await;
    Ok(())
}

/// Claims and gives back again, so that each claim finds the same.
async fn time(engine: &str, hosts: usize, database: &Database) -> Outcome<()> {
    let (mut times, mut taken) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut tx = database.begin().await?;
        taken = tx.claim("bench", NOW + Seconds(1), LEASE, CLAIM, Hosts::But(&[], "")).await?.len();
        times.push(start.elapsed());
        drop(tx);
    }
    let start = Instant::now();
    database.read().await?.next_due(NOW + Seconds(1), LEASE).await?;
    let look = start.elapsed();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "| {engine} | {hosts} | {:.2} | {:.2} | {taken} | {:.2} |",
        ms(times[ROUNDS / 2]),
        ms(times[ROUNDS - 1]),
        ms(look)
    );
    Ok(())
}

async fn fill(database: &Database, hosts: usize) -> Result<(), StoreError> {
    let mut tx = database.of("default".into()).begin().await?;
    tx.create_issuer(&IssuerRecord {
        id: "default".into(),
        url: "https://id.example".into(),
        name: "Bench".into(),
        colour: None,
        logo_hash: None,
        cimd: "{}".into(),
        admin_token_hash: String::new(),
        origin: Origin::Config,
        created_at: NOW,
        disabled_at: None,
    })
    .await?;
    let sub = Rng::Os.subject();
    let account = NewAccount {
        id: &"a".into(),
        sub: &sub,
        email: "a@b.example",
        email_verified: true,
        name: None,
        phone_number: None,
        phone_verified: false,
    };
    tx.apply_account(&account, NOW).await?;
    let delegation =
        tx.open_delegation("d", &"a".into(), "https://id.example", &sub, "https://service.example", NOW).await?;
    for n in 0..NOTICES {
        let host = format!("service-{:05}.example", n % hosts);
        let endpoint = format!("https://{host}/revoke");
        tx.enqueue(&[NewDelivery {
            id: format!("{n:032}").into(),
            delegation_id: Some(&delegation),
            sid: None,
            format: Format::LogoutJwt,
            round: Round::First,
            endpoint: &endpoint,
            host: host.as_str().into(),
            iss: "https://id.example",
            sub: &sub,
            aud: "https://service.example",
            created_at: NOW,
            due_at: NOW,
            give_up_at: NOW + Seconds(1000),
        }])
        .await?;
    }
    tx.commit().await
}
