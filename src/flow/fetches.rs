//! Who has fetched our keys: written down by the worker, read by whoever is about to rotate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use url::Url;

use crate::domain::fetcher::{Fetcher, Fetchers, LATELY};
use crate::error::Error;
use crate::fetches::Fetched;
use crate::host::Host;

/// Services whose names are looked up for one list.
const MAX_SERVICES: i64 = 200;
/// How long that may take, of all of them.
const LOOKUPS: Duration = Duration::from_secs(3);
/// Most fetchers that are written down in one transaction.
const AT_ONCE: usize = 200;

/// Writes down what was fetched since the last time. What cannot be written is lost: it is no more than a help.
///
/// # Errors
/// Faults.
pub async fn write_down(host: &Host) -> Result<(), Error> {
    let mut fetched = host.fetches.take();
    fetched.sort_by(|a, b| (&a.issuer_id, &a.fetcher).cmp(&(&b.issuer_id, &b.fetcher)));
    for of_issuer in fetched.chunk_by(|a, b| a.issuer_id == b.issuer_id) {
        for some in of_issuer.chunks(AT_ONCE) {
            let mut tx = host.database.of(some[0].issuer_id.clone()).begin().await?;
            let left_out = tx.add_fetches(&some.iter().collect::<Vec<&Fetched>>()).await?;
            tx.commit().await?;
            if left_out > 0 {
                tracing::debug!(issuer = &*some[0].issuer_id, left_out, "too many fetch the key set to count all");
            }
        }
    }
    Ok(())
}

/// Who has fetched the keys of an issuer in the last week.
///
/// # Errors
/// Faults.
pub async fn lately(host: &Host, issuer_id: &str) -> Result<Fetchers, Error> {
    let since = host.now() - LATELY;
    Ok(Fetchers::of(host.database.of(issuer_id.into()).read().await?.fetches(since).await?))
}

/// Which services they may be: those whose host has a fetcher's address now. By the audience of each, sorted.
///
/// # Errors
/// Faults; a name that cannot be looked up is none.
pub async fn services(
    host: &Host,
    issuer_id: &str,
    fetchers: &Fetchers,
) -> Result<BTreeMap<Fetcher, Vec<String>>, Error> {
    let audiences = host.database.of(issuer_id.into()).read().await?.audiences(MAX_SERVICES).await?;
    let mut lookups = JoinSet::new();
    for audience in audiences {
        let net = host.net.clone();
        lookups.spawn(async move {
            let name = Url::parse(&audience).ok().and_then(|url| url.host_str().map(str::to_owned));
            let addresses = match name {
                Some(name) => net.addresses(&name).await,
                None => Vec::new(),
            };
            (audience, addresses)
        });
    }
    let mut found: BTreeMap<Fetcher, Vec<String>> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + LOOKUPS;
    while let Ok(Some(Ok((audience, addresses)))) = tokio::time::timeout_at(deadline, lookups.join_next()).await {
        let is_one = |fetcher: &&Fetcher| addresses.iter().any(|ip: &IpAddr| fetcher.is_at(*ip));
        for fetcher in fetchers.0.keys().filter(is_one) {
            found.entry(fetcher.clone()).or_default().push(audience.clone());
        }
    }
    for audiences in found.values_mut() {
        audiences.sort();
    }
    Ok(found)
}
