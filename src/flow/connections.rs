//! What a user, or an operator, sees of the delegations.

mod place;

use std::collections::{BTreeMap, BTreeSet};

pub use place::{Page, Place};

use self::place::{ROWS, page};
use crate::domain::client::Client;
use crate::domain::consent::Consent;
use crate::domain::delegation::{Delegation, Filter};
use crate::domain::ids::ClientKey;
use crate::domain::notice::{Attempt, Delivery, DeliveryState};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::service::Service;
use crate::domain::session::{Account, OpenSession, Stays};
use crate::domain::ticket::Ticket;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::host::App;
use crate::store::{SignIn, Tx};

/// A delegation with what belongs to it.
#[derive(Debug)]
pub struct Connection {
    /// The record.
    pub delegation: Delegation,
    /// What is known of the service, if it is configured.
    pub service: Option<Service>,
    /// The decisions under it, each with its client.
    pub consents: Vec<(Client, Consent)>,
    /// What the browsers call themselves in which those were made, by the decision's id.
    pub browsers: BTreeMap<String, String>,
    /// Its notices.
    pub deliveries: Vec<Delivery>,
    /// The attempts at them with their times, the oldest first; none while it is active.
    pub attempts: Vec<(Timestamp, Attempt)>,
}

/// Everything the dashboard shows: a page of each list.
#[derive(Debug, Default)]
pub struct Dashboard {
    /// Questions that wait, the oldest first.
    pub pending: Page<(Client, Option<Service>, Ticket)>,
    /// Delegations: those that are active, then those that are over; the newest first of each.
    pub connections: Page<Connection>,
    /// Clients that the user stays signed in to, by name.
    pub agents: Page<SignedInAgent>,
    /// The sessions that are open, the latest first.
    pub sessions: Page<OpenSession>,
    /// Standing denials, the latest first: client, service or audience, decision.
    pub denials: Page<(Client, Option<Service>, String, Consent)>,
}

/// A client that the user lets sign them in.
#[derive(Debug)]
pub struct SignedInAgent {
    /// Which.
    pub client: Client,
    /// What it may know.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
    /// What it has.
    pub stays: Stays,
}

/// Greater than every id, which are hexadecimal, in every collation that a database may have.
const LAST: &str = "z";

/// Reads a user's dashboard: the first page of each list, or one page of one.
///
/// # Errors
/// Faults.
pub async fn dashboard(app: &App, account: &Account, from: Option<Place>) -> Result<Dashboard, Error> {
    let mut tx = app.store.read().await?;
    let mut dashboard = Dashboard::default();
    let places = match from {
        Some(place) => vec![place],
        None => vec![
            Place::Pending(0),
            Place::Services(LAST.to_owned()),
            Place::Agents(0),
            Place::Sessions(LAST.to_owned()),
            Place::Denials(i64::MAX),
        ],
    };
    for place in places {
        match place {
            Place::Pending(passed) => dashboard.pending = pending(app, &mut tx, account, passed).await?,
            Place::Services(after) => {
                dashboard.connections = connections(&mut tx, account, [Some(&after), Some(LAST)]).await?;
            }
            Place::Over(after) => {
                dashboard.connections = connections(&mut tx, account, [None, Some(&after)]).await?;
            }
            Place::Agents(passed) => dashboard.agents = agents(app, &mut tx, account, passed).await?,
            Place::Sessions(before) => {
                let sessions = tx.open_sessions(&account.id, app.now(), &before, ROWS).await?;
                dashboard.sessions = page(sessions, |last| Place::Sessions(last.id.clone()));
            }
            Place::Denials(before) => dashboard.denials = denials(&mut tx, account, before).await?,
        }
    }
    Ok(dashboard)
}

async fn pending(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    passed: i64,
) -> Result<Page<(Client, Option<Service>, Ticket)>, Error> {
    let tickets = tx.open_tickets(&account.id, app.now(), passed, ROWS).await?;
    let tickets = page(tickets, |_| Place::Pending(passed + ROWS - 1));
    let clients = Clients::read(tx, tickets.items.iter().map(|ticket| &ticket.client_key)).await?;
    let services = services(tx, tickets.items.iter().map(|ticket| ticket.aud.as_str())).await?;
    tickets.map(|ticket| Ok((clients.get(&ticket.client_key)?, services.get(&ticket.aud).cloned(), ticket)))
}

/// Those that are active and those that are over, each before an id, or none of them.
async fn connections(tx: &mut Tx, account: &Account, before: [Option<&str>; 2]) -> Result<Page<Connection>, Error> {
    let Page { items, next } = delegations(tx, account, before).await?;
    Ok(Page { items: complete(tx, items).await?, next })
}

async fn delegations(tx: &mut Tx, account: &Account, before: [Option<&str>; 2]) -> Result<Page<Delegation>, Error> {
    let mut found = Vec::new();
    for (are_over, before) in [false, true].into_iter().zip(before) {
        let missing = ROWS - i64::try_from(found.len()).unwrap_or(ROWS);
        if let Some(before) = before.filter(|_| missing > 0) {
            found.extend(tx.latest_delegations(&account.id, are_over, before, missing).await?);
        }
    }
    Ok(page(found, |last| {
        if last.ended_at.is_none() { Place::Services(last.id.clone()) } else { Place::Over(last.id.clone()) }
    }))
}

/// Where a delegation that is over is shown; `None` where that is the first page.
///
/// # Errors
/// Faults.
pub async fn place_of(app: &App, account: &Account, delegation_id: &str) -> Result<Option<Place>, Error> {
    let first = delegations(&mut app.store.read().await?, account, [Some(LAST), Some(LAST)]).await?;
    let is_shown = first.items.iter().any(|delegation| delegation.id == delegation_id);
    Ok((!is_shown).then(|| Place::Over(format!("{delegation_id}{LAST}"))))
}

async fn denials(
    tx: &mut Tx,
    account: &Account,
    before: i64,
) -> Result<Page<(Client, Option<Service>, String, Consent)>, Error> {
    let denials = tx.denials(&account.id, before, ROWS).await?;
    let denials = page(denials, |(_, last)| Place::Denials(last.number));
    let clients = Clients::read(tx, denials.items.iter().map(|(_, consent)| &consent.client_key)).await?;
    let services = services(tx, denials.items.iter().map(|(aud, _)| aud.as_str())).await?;
    denials.map(|(aud, consent)| Ok((clients.get(&consent.client_key)?, services.get(&aud).cloned(), aud, consent)))
}

/// What the user agreed to and what clients have of it, client by client.
async fn agents(app: &App, tx: &mut Tx, account: &Account, passed: i64) -> Result<Page<SignedInAgent>, Error> {
    let keys = tx.signed_in_clients(&account.id, app.now(), passed, ROWS).await?;
    let keys = page(keys, |_| Place::Agents(passed + ROWS - 1));
    let clients = Clients::read(tx, keys.items.iter()).await?;
    let mut agents: BTreeMap<ClientKey, SignedInAgent> = BTreeMap::new();
    let wanted: Vec<&ClientKey> = keys.items.iter().collect();
    for SignIn { client: key, scope, since, stays } in tx.sign_ins(&account.id, &wanted, app.now()).await? {
        if let Some(known) = agents.get_mut(&key) {
            known.scope = known.scope.or(&scope);
            known.since = known.since.min(since);
            known.stays = known.stays.max(stays);
        } else {
            let client = clients.get(&key)?;
            agents.insert(key, SignedInAgent { client, scope, since, stays });
        }
    }
    // One that ended between the two looks is left out.
    Ok(Page { items: keys.items.iter().filter_map(|key| agents.remove(key)).collect(), next: keys.next })
}

/// One delegation that `caller` may see.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn connection(app: &App, caller: &Caller, delegation_id: &str) -> Result<Connection, Error> {
    let mut tx = app.store.read().await?;
    let found = tx.delegation(delegation_id).await?;
    let allowed = found.filter(|d| caller.account_id().is_none_or(|own| *own == d.account_id));
    let mut found = complete(&mut tx, vec![allowed.ok_or(Refusal::NotFound)?]).await?;
    found.pop().ok_or(Error::invariant("one record in, one out"))
}

/// A page of delegations that `caller` may see.
///
/// # Errors
/// Faults.
pub async fn list(app: &App, caller: &Caller, mut filter: Filter<'_>) -> Result<Vec<Delegation>, Error> {
    filter.account_id = caller.account_id();
    Ok(app.store.read().await?.delegations(filter).await?)
}

/// Reads what belongs to delegations, however many, by as many statements as to one.
async fn complete(tx: &mut Tx, delegations: Vec<Delegation>) -> Result<Vec<Connection>, Error> {
    let ids: Vec<&str> = delegations.iter().map(|delegation| delegation.id.as_str()).collect();
    let over: Vec<&str> =
        delegations.iter().filter(|d| d.ended_at.is_some()).map(|delegation| delegation.id.as_str()).collect();
    let services = services(tx, delegations.iter().map(|delegation| delegation.aud.as_str())).await?;
    let all_consents = tx.delegation_consents(&ids).await?;
    let clients = Clients::read(tx, all_consents.iter().map(|consent| &consent.client_key)).await?;
    let mut consents: BTreeMap<String, Vec<(Client, Consent)>> = BTreeMap::new();
    for consent in all_consents {
        let of = consent.delegation_id.clone().unwrap_or_default();
        consents.entry(of).or_default().push((clients.get(&consent.client_key)?, consent));
    }
    let browsers = tx.consent_browsers(&ids).await?;
    let mut deliveries: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for mut delivery in tx.deliveries(&ids).await? {
        // The next attempt goes where the service takes notices now.
        let endpoint = services.get(&delivery.aud).and_then(|service| service.policy.endpoint_for(delivery.format));
        if let Some(endpoint) = endpoint.filter(|_| delivery.state == DeliveryState::Queued) {
            endpoint.clone_into(&mut delivery.endpoint);
        }
        deliveries.entry(delivery.delegation_id.clone().unwrap_or_default()).or_default().push(delivery);
    }
    let mut attempts: BTreeMap<String, Vec<(Timestamp, Attempt)>> = BTreeMap::new();
    if !over.is_empty() {
        for (of, at, attempt) in tx.attempts(&over).await? {
            attempts.entry(of).or_default().push((at, attempt));
        }
    }
    let connection = |delegation: Delegation| {
        let consents = consents.remove(&delegation.id).unwrap_or_default();
        let made_in = |(_, consent): &(Client, Consent)| {
            browsers.get(&consent.id).map(|browser| (consent.id.clone(), browser.clone()))
        };
        Connection {
            service: services.get(&delegation.aud).cloned(),
            browsers: consents.iter().filter_map(made_in).collect(),
            deliveries: deliveries.remove(&delegation.id).unwrap_or_default(),
            attempts: attempts.remove(&delegation.id).unwrap_or_default(),
            consents,
            delegation,
        }
    };
    Ok(delegations.into_iter().map(connection).collect())
}

/// Clients by our keys.
struct Clients(BTreeMap<ClientKey, Client>);

impl Clients {
    async fn read(tx: &mut Tx, keys: impl Iterator<Item = &ClientKey>) -> Result<Self, Error> {
        let keys: BTreeSet<&ClientKey> = keys.collect();
        if keys.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        Ok(Self(tx.clients_by_key(&keys.into_iter().collect::<Vec<_>>()).await?))
    }

    fn get(&self, key: &ClientKey) -> Result<Client, Error> {
        self.0.get(key).cloned().ok_or(Error::invariant("a client is never deleted"))
    }
}

async fn services<'a>(
    tx: &mut Tx,
    audiences: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Service>, Error> {
    let audiences: BTreeSet<&str> = audiences.collect();
    if audiences.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(tx.services(&audiences.into_iter().collect::<Vec<_>>()).await?)
}
