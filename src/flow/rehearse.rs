//! A rotation on an issuer at work, step by step, as an operator rehearses it: the next key is published, signs when its time has come, and
//! the one before leaves the key set when its time has come. Never anything else, and never early: what is published stays a good key set.

use crate::domain::ids::Kid;
use crate::domain::rotation::{KeyState, SigningAlg};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::fetches;
use crate::flow::rotate::{self, Listed};
use crate::host::Host;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A key is to be published; the one that signs is named.
    Prepare,
    /// The pending key is to sign, from a time on.
    Activate(Kid, Timestamp),
    /// A retiring key is to leave the key set, from a time on.
    Retire(Kid, Timestamp),
}

/// What a rehearsal goes on from.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The newest key: the pending one, else the one that signs.
    pub newest: Option<Listed>,
    /// What comes next.
    pub next: Next,
}

/// Where an issuer's keys of an algorithm stand.
///
/// # Errors
/// Faults.
pub async fn standing(host: &Host, issuer_id: &str, alg: SigningAlg) -> Result<Standing, Error> {
    let keys = rotate::list(host, issuer_id).await?;
    let of = |state: KeyState| keys.iter().filter(move |listed| listed.key.alg == alg && listed.key.state == state);
    let pending = of(KeyState::Pending).next();
    let retiring = of(KeyState::Retiring).min_by_key(|listed| listed.allowed_at);
    let at = |listed: &Listed| listed.allowed_at.unwrap_or(Timestamp::MAX);
    let next = match (pending, retiring) {
        (Some(pending), _) => Next::Activate(pending.key.kid.clone(), at(pending)),
        (None, Some(retiring)) => Next::Retire(retiring.key.kid.clone(), at(retiring)),
        (None, None) => Next::Prepare,
    };
    Ok(Standing { newest: pending.or_else(|| of(KeyState::Active).next()).cloned(), next })
}

/// Takes a step whose time has come.
///
/// # Errors
/// As [`rotate::prepare`], [`rotate::activate`] and [`rotate::retire`], each without force.
pub async fn take(host: &Host, issuer_id: &str, alg: SigningAlg, next: &Next) -> Result<(), Error> {
    match next {
        Next::Prepare => rotate::prepare(host, issuer_id, alg).await.map(drop),
        Next::Activate(kid, _) => rotate::activate(host, issuer_id, kid, None).await,
        Next::Retire(kid, _) => rotate::retire(host, issuer_id, kid, None).await,
    }
}

/// What a service has fetched, as far as its address tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its audience, or the address of a fetcher that is at none that is known.
    pub service: String,
    /// Whether it has fetched the key.
    pub has: bool,
    /// How often it has fetched key sets in the last week.
    pub count: i64,
    /// When for the last time.
    pub last_at: Option<Timestamp>,
}

/// Which services have fetched a key: those named, or whoever fetches where none is.
///
/// # Errors
/// Faults.
pub async fn fetched(host: &Host, issuer_id: &str, kid: &Kid, named: &[String]) -> Result<Vec<Fetched>, Error> {
    let fetchers = fetches::lately(host, issuer_id).await?;
    let services = fetches::services(host, issuer_id, &fetchers).await?;
    let names = |fetcher| services.get(fetcher).cloned().unwrap_or_default();
    let mut found: Vec<Fetched> =
        named.iter().map(|service| Fetched { service: service.clone(), has: false, count: 0, last_at: None }).collect();
    for (fetcher, seen) in fetchers.0.iter().filter(|(_, seen)| !seen.kids.is_empty()) {
        let mut names: Vec<String> = names(fetcher);
        if named.is_empty() && names.is_empty() {
            names.push(fetcher.address.to_string());
        }
        for service in names {
            let place = found.iter().position(|known| known.service == service);
            let place = match place {
                Some(place) => place,
                None if named.is_empty() => {
                    found.push(Fetched { service, has: false, count: 0, last_at: None });
                    found.len() - 1
                }
                None => continue,
            };
            let known = &mut found[place];
            known.has |= seen.kids.contains(kid);
            known.count += seen.count;
            known.last_at = known.last_at.max(Some(seen.last_at));
        }
    }
    Ok(found)
}
