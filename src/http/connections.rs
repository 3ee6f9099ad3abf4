//! `/connections`: what a user agreed to, and how to stop it.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use url::form_urlencoded::Serializer;

use super::csrf::SignedForm;
use super::extract::Segment;
use super::form::Pairs;
use super::pages::{self, State};
use super::parties::{agent, service};
use super::session::SignedIn;
use super::way_back::HOME;
use super::{reply, wording};
use crate::domain::client::Client;
use crate::domain::consent::{Consent, Mode};
use crate::domain::delegation::Status;
use crate::domain::notice::{Delivery, DeliveryState};
use crate::domain::refusal::Refusal;
use crate::domain::session::{OpenSession, Session};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::connections::{Connection, Dashboard, Page, Place, SignedInAgent, connection, dashboard, place_of};
use crate::flow::{consent, sign_in, withdraw};
use crate::host::App;

/// Most ended decisions of one agent that are shown one by one.
const ENDED_SHOWN: usize = 3;

/// The front door leads to the one page there is for a user.
pub(super) async fn home(app: App) -> Response {
    reply::to_page(&app, HOME)
}

pub(super) async fn get(app: App, RawQuery(query): RawQuery, visitor: SignedIn) -> Result<Response, Error> {
    let asked = Pairs::parse(query.unwrap_or_default().as_bytes());
    let from = match (asked.single("list")?, asked.single("after")?) {
        (None, None) => None,
        (list, after) => {
            let place = Place::read(&list.unwrap_or_default(), &after.unwrap_or_default());
            Some(place.ok_or(Refusal::NotFound)?)
        }
    };
    let first = from.is_none();
    let Dashboard { pending, connections, agents, sessions, denials } = dashboard(&app, &visitor.account, from).await?;
    let now = app.now();
    let page = pages::Connections {
        site: reply::site(&app),
        account: visitor.bar(&app, HOME),
        first,
        pending: part(pending, |(client, known, ticket)| pages::PendingTicket {
            agent: agent(&client),
            service: service(known.as_ref(), &ticket.aud),
            scopes: ticket.scope.iter().map(str::to_owned).collect(),
            asked: wording::ago(ticket.created_at, now),
            ticket: ticket.id,
        }),
        items: part(connections, |connection| item(&connection, now)),
        agents: part(agents, |agent| signed_in_agent(&agent, now)),
        sessions: part(sessions, |session| browser(&session, &visitor.session, now)),
        denied: part(denials, |(client, known, aud, consent)| pages::DeniedLine {
            agent: agent(&client),
            service: service(known.as_ref(), &aud),
            scopes: consent.asked_scope.iter().map(str::to_owned).collect(),
            when: wording::ago(consent.created_at, now),
            id: consent.id,
        }),
    };
    Ok(reply::page(StatusCode::OK, &page.html()))
}

/// A page of a list as it is shown, with the link to the next.
fn part<T, U>(page: Page<T>, line: impl FnMut(T) -> U) -> pages::Part<U> {
    pages::Part { items: page.items.into_iter().map(line).collect(), more: page.next.as_ref().map(query) }
}

/// What shows the page that begins there.
fn query(place: &Place) -> String {
    let (list, after) = place.link();
    Serializer::new(String::new()).append_pair("list", list).append_pair("after", &after).finish()
}

/// The confirmation, which says what else ends.
pub(super) async fn stop_page(app: App, Segment(id): Segment, visitor: SignedIn) -> Result<Response, Error> {
    let found = connection(&app, &Caller::User(visitor.account.id.clone()), &id).await?;
    if found.delegation.status() != Status::Active {
        return Ok(reply::to_page(&app, HOME));
    }
    let mut clients: Vec<&Client> = found.consents.iter().map(|(client, _)| client).collect();
    clients.sort_by_key(|client| (client.title(), client.key.to_string()));
    clients.dedup_by_key(|client| client.key.to_string());
    let agents = clients.into_iter().map(agent).collect();
    let page = pages::Stop {
        site: reply::site(&app),
        account: visitor.bar(&app, &format!("/connections/{id}/stop")),
        service: service(found.service.as_ref(), &found.delegation.aud),
        agents,
        never_used: found.delegation.mint_count == 0,
        no_revocation: found.service.is_none_or(|s| s.policy.notices.is_empty()),
        days: app.give_up_after.0 / 86_400,
        id,
    };
    Ok(reply::page(StatusCode::OK, &page.html()))
}

pub(super) async fn stop(app: App, Segment(id): Segment, sent: SignedForm) -> Result<Response, Error> {
    let account = sent.visitor.account;
    withdraw::withdraw(&app, &Caller::User(account.id.clone()), &id).await?;
    // To where it stands now, so that the user sees what comes of it.
    Ok(match place_of(&app, &account, &id).await? {
        None => reply::to_page(&app, HOME),
        Some(place) => reply::to_page(&app, &format!("{HOME}?{}", query(&place))),
    })
}

/// Takes a denial back.
pub(super) async fn revise(app: App, Segment(id): Segment, sent: SignedForm) -> Result<Response, Error> {
    consent::revise(&app, &sent.visitor.account, &id).await?;
    Ok(back_to_list(&app, &sent))
}

/// Signs the user out of an agent.
pub(super) async fn end_sign_in(app: App, Segment(key): Segment, sent: SignedForm) -> Result<Response, Error> {
    sign_in::end_client(&app, &sent.visitor.account, &key.into()).await?;
    Ok(back_to_list(&app, &sent))
}

/// Signs the user out of a browser, this one or another.
pub(super) async fn end_session(app: App, Segment(id): Segment, sent: SignedForm) -> Result<Response, Error> {
    sign_in::end_session(&app, &sent.visitor.account, &id).await?;
    Ok(back_to_list(&app, &sent))
}

/// The page of the list on which something was ended.
fn back_to_list(app: &App, sent: &SignedForm) -> Response {
    let list = sent.page.as_deref().filter(|page| page.starts_with("/connections?"));
    reply::to_page(app, list.unwrap_or(HOME))
}

fn signed_in_agent(signed_in: &SignedInAgent, now: Timestamp) -> pages::SignInLine {
    pages::SignInLine {
        id: signed_in.client.key.to_string(),
        agent: agent(&signed_in.client),
        stays: wording::stays(signed_in.stays).to_owned(),
        scopes: signed_in.scope.iter().map(str::to_owned).collect(),
        since: wording::near(signed_in.since, now),
    }
}

fn browser(open: &OpenSession, mine: &Session, now: Timestamp) -> pages::SessionLine {
    let name = open.user_agent.as_deref().and_then(wording::browser);
    pages::SessionLine {
        id: open.id.clone(),
        browser: name.unwrap_or_else(|| "A browser we do not know".to_owned()),
        is_this: open.id == mine.id,
        signed_in: wording::ago(open.auth_time, now),
        until: wording::near(open.expires_at, now),
    }
}

fn item(connection: &Connection, now: Timestamp) -> pages::Connection {
    let delegation = &connection.delegation;
    let service = service(connection.service.as_ref(), &delegation.aud);
    let deliveries = notices(connection);
    let timeline = delegation.ended_at.map_or_else(Vec::new, |ended| {
        wording::delivery_timeline(ended, &service.host, &deliveries, &connection.attempts, now)
    });
    let owed = connection.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Queued);
    let is_active = delegation.status() == Status::Active;
    let still_told = (is_active && owed).then(|| wording::still_told(&service.host));
    pages::Connection {
        id: delegation.id.clone(),
        state: state(connection, &deliveries, now),
        agents: agents(connection, now),
        last_used: delegation.last_used_at.map(|at| {
            let by = delegation.last_client.as_deref().map(|name| format!(" by {name}")).unwrap_or_default();
            let times = if delegation.mint_count == 1 {
                String::new()
            } else {
                format!("; {} times in all", delegation.mint_count)
            };
            format!("{}{by}{times}", wording::ago(at, now))
        }),
        timeline: timeline.into_iter().map(|(time, text)| pages::TimelineLine { time, text }).collect(),
        still_told,
        can_stop: is_active,
        service,
    }
}

/// The notices of the end that is shown, not those of earlier ones.
fn notices(connection: &Connection) -> Vec<Delivery> {
    let since = connection.delegation.ended_at.unwrap_or(Timestamp::MAX);
    connection.deliveries.iter().filter(|d| d.created_at >= since).cloned().collect()
}

fn state(connection: &Connection, notices: &[Delivery], now: Timestamp) -> State {
    let Connection { delegation, consents, .. } = connection;
    let standing_at = |state| notices.iter().filter(|d| d.state == state).count();
    let (confirmed, unproven) = (standing_at(DeliveryState::Delivered), standing_at(DeliveryState::Unproven));
    match delegation.status() {
        Status::Active => {
            let standing = consents.iter().map(|(_, consent)| consent).filter(|c| c.ended_at.is_none());
            let furthest = standing.map(|c| c.mode).max_by_key(|mode| match mode {
                Mode::Always => (2, Timestamp::MAX),
                Mode::Until(at) => (1, *at),
                Mode::Once | Mode::Denied => (0, Timestamp::EPOCH),
            });
            match furthest {
                Some(Mode::Always) => State::Active("Active until you stop it".to_owned()),
                Some(Mode::Until(at)) => State::Active(format!("Active until {}", wording::near(at, now))),
                Some(_) => State::Active("Allowed once, not used yet".to_owned()),
                None => State::Used("Used. Agents have to ask again; stop it to end the access they got".to_owned()),
            }
        }
        // What is still to come is in the details: there is nothing for the user to wait for.
        Status::Withdrawing if confirmed > 0 => State::Withdrawn("Stopped and confirmed".into()),
        Status::Withdrawing => State::Withdrawing("Stopped; the service has not confirmed it yet".into()),
        Status::Withdrawn if delegation.mint_count == 0 => State::Withdrawn("Stopped before it was ever used".into()),
        Status::Withdrawn if notices.is_empty() => {
            State::Unconfirmed("Stopped; the service cannot be told, so sign out there yourself".into())
        }
        Status::Withdrawn if confirmed == notices.len() => {
            let at = notices.iter().filter_map(|d| d.ended_at).max().unwrap_or_default();
            State::Withdrawn(format!("Stopped and confirmed {}", wording::ago(at, now)))
        }
        Status::Withdrawn if confirmed + unproven == notices.len() => State::Unconfirmed(
            "Stopped; the service answered, but nothing shows that it understood, so sign out there yourself".into(),
        ),
        Status::Withdrawn => {
            State::Unconfirmed("Stopped; the service did not confirm it, so sign out there yourself".into())
        }
    }
}

/// The decisions by agent: those that stand, and the last few that ended.
fn agents(connection: &Connection, now: Timestamp) -> Vec<pages::AgentLines> {
    let mut agents: Vec<(&Client, Vec<&Consent>)> = Vec::new();
    for (client, consent) in connection.consents.iter().rev() {
        match agents.iter_mut().find(|(known, _)| known.key == client.key) {
            Some((_, consents)) => consents.push(consent),
            None => agents.push((client, vec![consent])),
        }
    }
    let lines = |(client, mut consents): (&Client, Vec<&Consent>)| {
        consents.sort_by_key(|consent| consent.ended_at.is_some());
        let standing = consents.iter().filter(|consent| consent.ended_at.is_none()).count();
        let earlier = consents.len().saturating_sub(standing + ENDED_SHOWN);
        consents.truncate(standing + ENDED_SHOWN);
        let decision = |consent: &&Consent| pages::DecisionLine {
            mode: wording::standing(consent, now),
            scopes: consent.scope.iter().map(str::to_owned).collect(),
            agreed: match connection.browsers.get(&consent.id).and_then(|name| wording::browser(name)) {
                Some(browser) => format!("{}, {browser}", wording::ago(consent.created_at, now)),
                None => wording::ago(consent.created_at, now),
            },
        };
        pages::AgentLines { agent: agent(client), decisions: consents.iter().map(decision).collect(), earlier }
    };
    agents.into_iter().map(lines).collect()
}
