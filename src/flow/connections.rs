//! What a user, or an operator, sees of the delegations.

use std::collections::BTreeMap;

use crate::domain::client::Client;
use crate::domain::consent::Consent;
use crate::domain::delegation::{Delegation, Filter};
use crate::domain::ids::ClientKey;
use crate::domain::notice::{Attempt, Delivery, DeliveryState};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::service::Service;
use crate::domain::session::{Account, OpenSession};
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

/// Everything the dashboard shows.
#[derive(Debug)]
pub struct Dashboard {
    /// Questions that wait.
    pub pending: Vec<(Client, Option<Service>, Ticket)>,
    /// Delegations, the newest first.
    pub connections: Vec<Connection>,
    /// Clients that the user stays signed in to, by name.
    pub agents: Vec<SignedInAgent>,
    /// The sessions that are open, the latest first.
    pub sessions: Vec<OpenSession>,
    /// Standing denials: client, service or audience, decision.
    pub denials: Vec<(Client, Option<Service>, String, Consent)>,
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

/// How long a client's sign-in lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    /// It has nothing of it now, and may begin again.
    Out,
    /// As long as a session.
    UntilSignOut,
    /// Until the user ends it.
    WhileAway,
}

/// Most sessions on one dashboard.
const MAX_SESSIONS: i64 = 100;
/// Most delegations on one dashboard.
const MAX_CONNECTIONS: i64 = 500;
/// Most attempts at telling a service that are shown: those of two notices in seven days, and some.
const MAX_ATTEMPTS: i64 = 200;

/// Reads a user's dashboard.
///
/// # Errors
/// Faults.
pub async fn dashboard(app: &App, account: &Account) -> Result<Dashboard, Error> {
    let mut tx = app.store.read().await?;
    let mut pending = Vec::new();
    for ticket in tx.open_tickets(&account.id, app.now()).await? {
        pending.push((client(&mut tx, &ticket.client_key).await?, tx.service(&ticket.aud).await?, ticket));
    }
    let mut connections = Vec::new();
    for delegation in tx.latest_delegations(&account.id, MAX_CONNECTIONS).await? {
        connections.push(complete(&mut tx, delegation).await?);
    }
    let mut denials = Vec::new();
    for (aud, consent) in tx.denials(&account.id).await? {
        denials.push((client(&mut tx, &consent.client_key).await?, tx.service(&aud).await?, aud, consent));
    }
    let agents = agents(app, &mut tx, account).await?;
    let sessions = tx.open_sessions(&account.id, app.now(), MAX_SESSIONS).await?;
    Ok(Dashboard { pending, connections, agents, sessions, denials })
}

/// What the user agreed to and what clients have of it, client by client.
async fn agents(app: &App, tx: &mut Tx, account: &Account) -> Result<Vec<SignedInAgent>, Error> {
    let agreed = tx.signin_consents(&account.id).await?.into_iter().map(|sign_in| (sign_in, Stays::Out));
    let live = tx.live_families(&account.id, app.now()).await?.into_iter().map(|sign_in| {
        let stays = if sign_in.offline { Stays::WhileAway } else { Stays::UntilSignOut };
        (sign_in, stays)
    });
    let mut agents: BTreeMap<ClientKey, SignedInAgent> = BTreeMap::new();
    for (SignIn { client: key, scope, since, .. }, stays) in agreed.chain(live) {
        if let Some(known) = agents.get_mut(&key) {
            known.scope = known.scope.or(&scope);
            known.since = known.since.min(since);
            known.stays = known.stays.max(stays);
        } else {
            let client = client(tx, &key).await?;
            agents.insert(key, SignedInAgent { client, scope, since, stays });
        }
    }
    let mut agents: Vec<_> = agents.into_values().collect();
    agents.sort_by_key(|agent| agent.client.title());
    Ok(agents)
}

/// One delegation that `caller` may see.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn connection(app: &App, caller: &Caller, delegation_id: &str) -> Result<Connection, Error> {
    let mut tx = app.store.read().await?;
    let found = tx.delegation(delegation_id).await?;
    let allowed = found.filter(|d| caller.account_id().is_none_or(|own| *own == d.account_id));
    complete(&mut tx, allowed.ok_or(Refusal::NotFound)?).await
}

/// A page of delegations that `caller` may see.
///
/// # Errors
/// Faults.
pub async fn list(app: &App, caller: &Caller, mut filter: Filter<'_>) -> Result<Vec<Delegation>, Error> {
    filter.account_id = caller.account_id();
    Ok(app.store.read().await?.delegations(filter).await?)
}

async fn complete(tx: &mut Tx, delegation: Delegation) -> Result<Connection, Error> {
    let service = tx.service(&delegation.aud).await?;
    let mut consents = Vec::new();
    for consent in tx.delegation_consents(&delegation.id).await? {
        consents.push((client(tx, &consent.client_key).await?, consent));
    }
    let browsers = tx.consent_browsers(&delegation.id).await?;
    let mut deliveries = tx.deliveries(&delegation.id).await?;
    // The next attempt goes where the service takes notices now.
    for delivery in deliveries.iter_mut().filter(|delivery| delivery.state == DeliveryState::Queued) {
        if let Some(endpoint) = service.as_ref().and_then(|service| service.policy.endpoint_for(delivery.format)) {
            endpoint.clone_into(&mut delivery.endpoint);
        }
    }
    let attempts = match delegation.ended_at {
        Some(_) => tx.attempts(&delegation.id, MAX_ATTEMPTS).await?,
        None => Vec::new(),
    };
    Ok(Connection { delegation, service, consents, browsers, deliveries, attempts })
}

async fn client(tx: &mut Tx, key: &ClientKey) -> Result<Client, Error> {
    tx.client_by_key(key).await?.ok_or(Error::invariant("a client is never deleted"))
}
