//! A ticket as its page shows it, and the user's answer.

use crate::domain::client::Client;
use crate::domain::consent::{Consent, Mode};
use crate::domain::disclosure::{ClaimSet, disclosed};
use crate::domain::ids::Audience;
use crate::domain::journal::{Decision, Event};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::service::Service;
use crate::domain::session::{Account, Session};
use crate::domain::ticket::Ticket;
use crate::domain::understood::Understood;
use crate::error::Error;
use crate::flow::services;
use crate::host::App;
use crate::meters;
use crate::secret::{same, sha256};
use crate::store::{Entry, Tx};

/// A ticket as its page shows it.
#[derive(Debug)]
pub struct TicketView {
    /// What was asked.
    pub ticket: Ticket,
    /// Who asks.
    pub client: Client,
    /// For which service.
    pub service: Service,
    /// What was understood of it, where it speaks for itself.
    pub understood: Option<Understood>,
    /// What would leave.
    pub disclosed: ClaimSet,
    /// What of it the user was not shown when they agreed to what still stands; nothing where nothing does.
    pub unseen: ClaimSet,
    /// Of everything the page shows: the form posts it back.
    pub digest: String,
    /// Whether the user agreed to something for this service before, and to something of this client.
    pub known: (bool, bool),
    /// The decision, if it was made: `None` also for a ticket that expired.
    pub decided: Option<Mode>,
    /// Whether it can still be answered.
    pub open: bool,
}

/// Finds a ticket for its user.
///
/// # Errors
/// [`Refusal::NotFound`]; `Ok(None)` when it is somebody else's, of which nothing is told.
pub async fn ticket_view(app: &App, account: &Account, ticket_id: &str) -> Result<Option<TicketView>, Error> {
    let mut tx = app.store.read().await?;
    load(app, &mut tx, account, ticket_id).await
}

async fn load(app: &App, tx: &mut Tx, account: &Account, ticket_id: &str) -> Result<Option<TicketView>, Error> {
    let ticket = tx.ticket(ticket_id).await?.ok_or(Refusal::NotFound)?;
    if ticket.account_id != account.id {
        return Ok(None);
    }
    let client = tx.client_by_key(&ticket.client_key).await?.ok_or(Error::invariant("a ticket has its client"))?;
    let audience = Audience::parse(&ticket.aud).map_err(|_| Error::invariant("a ticket's audience parses"))?;
    // Also one that takes no ID-JAGs any more: the user may still say no, and see what they have said.
    let service = services::of_question(tx, &audience).await?;
    let speaks = !service.source.is_operators();
    let understood = if speaks { tx.discovery(&ticket.aud).await?.map(|known| known.understood) } else { None };
    let known = tx.agreed_before(&account.id, &ticket.aud, &client.key).await?;
    let decided = match &ticket.consent_id {
        Some(id) => tx.consent_mode(id).await?,
        None => None,
    };
    let disclosed = disclosed(&service.policy, account);
    let standing = tx.consents(&account.id, &ticket.aud, &client.key).await?;
    let unseen = unseen(disclosed, standing.iter().filter(|consent| consent.mode != Mode::Denied));
    let digest = digest(&ticket, &client, (&service, understood.as_ref()), account, disclosed);
    // The questions of a client that is disabled are closed a moment later.
    let lives = tx.client(&client.client_id).await?.is_some();
    let open = lives && ticket.closed_at.is_none() && ticket.expires_at > app.now();
    Ok(Some(TicketView { ticket, client, service, understood, disclosed, unseen, digest, known, decided, open }))
}

fn unseen<'a>(disclosed: ClaimSet, standing: impl Iterator<Item = &'a Consent>) -> ClaimSet {
    let mut shown = standing.map(|consent| consent.claims).peekable();
    if shown.peek().is_none() {
        return ClaimSet::default();
    }
    let shown: ClaimSet = shown.flat_map(ClaimSet::iter).collect();
    disclosed.iter().filter(|claim| !shown.has(*claim)).collect()
}

fn digest(
    ticket: &Ticket,
    client: &Client,
    (service, understood): (&Service, Option<&Understood>),
    account: &Account,
    disclosed: ClaimSet,
) -> String {
    let shown = serde_json::json!([
        ticket.id,
        ticket.request_key,
        client.client_id,
        client.title(),
        client.version,
        ticket.aud,
        service.policy.name,
        service.version,
        service.shown,
        understood.map(Understood::fields),
        ticket.scope.to_string(),
        ticket.resources,
        ticket.agent_platform,
        ticket.agent_context_id,
        disclosed.to_string(),
        account.email,
        account.name,
        account.phone_number
    ]);
    sha256(shown.to_string().as_bytes())
}

/// What the form says.
#[derive(Debug)]
pub struct Answer {
    /// Of what the page showed.
    pub digest: String,
    /// `None`: no.
    pub mode: Option<Mode>,
    /// The scopes that were left ticked.
    pub scope: Scope,
}

/// Records the user's decision: consent, record, end of the ticket and journal in one transaction.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's ticket; [`Refusal::TicketClosed`]; [`Refusal::TicketMismatch`] when the page showed
/// something else; [`Refusal::ScopeNotGrantable`] for more than was asked.
pub async fn decide(
    app: &App,
    session: &Session,
    account: &Account,
    ticket_id: &str,
    answer: &Answer,
) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let asked = tx.ticket(ticket_id).await?.filter(|ticket| ticket.account_id == account.id);
    let asked = asked.ok_or(Refusal::NotFound)?;
    // Under the locks: whoever disables one of them either waits and withdraws what is agreed to here, or was first.
    let in_force = tx.lock_deciders(&account.id, &asked.client_key, &session.id, &asked.aud, now).await?;
    let view = load(app, &mut tx, account, ticket_id).await?.ok_or(Refusal::NotFound)?;
    if !in_force || !view.open {
        return Err(Refusal::TicketClosed.into());
    }
    if !same(&answer.digest, &view.digest) {
        return Err(Refusal::TicketMismatch.into());
    }
    let ticket = &view.ticket;
    if let Some(beyond) = answer.scope.iter().find(|token| !ticket.scope.has(token)) {
        return Err(Refusal::ScopeNotGrantable(beyond.to_owned()).into());
    }
    if answer.mode.is_some() && !ticket.scope.is_empty() && answer.scope.is_empty() {
        return Err(Refusal::NOTHING_TICKED.into());
    }
    if answer.mode.is_some() {
        let audience = &view.service.audience;
        services::resolve(&mut tx, audience).await?;
    }
    let number = tx.next_decision(&account.id).await?;
    let delegation_id = match answer.mode {
        None => None,
        Some(_) => Some(
            tx.open_delegation(&app.id(), &account.id, app.issuer.url.as_str(), &account.sub, &ticket.aud, now).await?,
        ),
    };
    let mode = answer.mode.unwrap_or(Mode::Denied);
    let consent = Consent {
        id: app.id(),
        delegation_id,
        client_key: ticket.client_key.clone(),
        mode,
        asked_scope: ticket.scope.clone(),
        scope: if mode == Mode::Denied { Scope::default() } else { answer.scope.clone() },
        resources: ticket.resources.clone(),
        claims: view.disclosed,
        shown: view.service.shown.clone(),
        request_key: ticket.request_key.clone(),
        number,
        created_at: now,
        last_used_at: None,
        ended_at: None,
    };
    tx.add_consent(&consent, &account.id, &ticket.aud, &session.id).await?;
    if !tx.close_ticket(&ticket.id, &account.id, &consent.id, now).await? {
        return Err(Refusal::TicketClosed.into());
    }
    let decision = Decision {
        aud: ticket.aud.clone(),
        mode,
        scope: consent.scope.to_string(),
        resources: consent.resources.clone(),
        sid: session.id.clone(),
        agent_platform: ticket.agent_platform.clone(),
        agent_context_id: ticket.agent_context_id.clone(),
    };
    let event = if mode == Mode::Denied { Event::ConsentDenied(decision) } else { Event::ConsentGiven(decision) };
    tx.record(Entry {
        account_id: Some(&account.id),
        client: Some(&ticket.client_key),
        delegation_id: consent.delegation_id.as_deref(),
        consent_id: Some(&consent.id),
        ..Entry::new(app.id(), now, event)
    })
    .await?;
    tx.commit().await?;
    meters::consented(mode.as_str());
    Ok(())
}

/// Takes a denial back: the agent may ask again.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn revise(app: &App, account: &Account, consent_id: &str) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    if !tx.end_denial(&account.id, consent_id, now).await? {
        return Err(Refusal::NotFound.into());
    }
    tx.record(Entry {
        account_id: Some(&account.id),
        consent_id: Some(consent_id),
        ..Entry::new(app.id(), now, Event::ConsentRevised {})
    })
    .await?;
    tx.commit().await?;
    Ok(())
}
