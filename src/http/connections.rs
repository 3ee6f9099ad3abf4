//! `/connections`: what a user agreed to, and how to stop it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::form::Pairs;
use super::pages::{self, Known, State as Shown};
use super::segment::Segment;
use super::{page_or, reply, visitor, words};
use crate::app::App;
use crate::domain::client::Client;
use crate::domain::delegation::Status;
use crate::domain::ids::Audience;
use crate::domain::refusal::Refusal;
use crate::domain::service::Service;
use crate::flow::bearer::Caller;
use crate::flow::connections::{Connection, Dashboard, connection, dashboard};
use crate::flow::{consent, withdraw};

/// The front door leads to the one page there is for a user.
pub(super) async fn home() -> Response {
    reply::see_other("/connections")
}

pub(super) async fn get(State(app): State<App>, headers: HeaderMap) -> Response {
    let outcome = async {
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Ok(reply::see_other(&visitor::sign_in_at("/connections")));
        };
        let Dashboard { pending, connections, denials } = dashboard(&app, &account).await?;
        let page = pages::Connections {
            site: reply::site(&app),
            account: visitor::account(&session, &account, "/connections"),
            pending: pending
                .into_iter()
                .map(|(client, known, ticket)| pages::PendingQuestion {
                    agent: agent(&client),
                    service: service(known.as_ref(), &ticket.aud),
                    asked: words::time(ticket.created_at),
                    ticket: ticket.id,
                })
                .collect(),
            items: connections.iter().map(item).collect(),
            denied: denials
                .into_iter()
                .map(|(client, known, aud, consent)| pages::DeniedLine {
                    agent: agent(&client),
                    service: service(known.as_ref(), &aud),
                    when: words::time(consent.created_at),
                    id: consent.id,
                })
                .collect(),
        };
        Ok(reply::page(StatusCode::OK, &page.html()))
    };
    page_or(&app, outcome.await)
}

/// The confirmation, which says what else ends.
pub(super) async fn stop_page(State(app): State<App>, Segment(id): Segment, headers: HeaderMap) -> Response {
    let outcome = async {
        let here = format!("/connections/{id}/stop");
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Ok(reply::see_other(&visitor::sign_in_at(&here)));
        };
        let found = connection(&app, &Caller::User(account.id.clone()), &id).await?;
        if found.delegation.status() != Status::Active {
            return Ok(reply::see_other("/connections"));
        }
        let mut agents: Vec<String> = found.consents.iter().map(|(client, _)| client.name.clone()).collect();
        agents.sort();
        agents.dedup();
        let page = pages::Stop {
            site: reply::site(&app),
            account: visitor::account(&session, &account, &here),
            service: service(found.service.as_ref(), &found.delegation.aud),
            agents,
            no_revocation: found.service.is_none_or(|s| s.revocation_uri.is_none()),
            id,
        };
        Ok(reply::page(StatusCode::OK, &page.html()))
    };
    page_or(&app, outcome.await)
}

pub(super) async fn stop(State(app): State<App>, Segment(id): Segment, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Err(Refusal::CrossSite.into());
        };
        visitor::form_of(&app, &headers, &form, &session)?;
        withdraw::withdraw(&app, &Caller::User(account.id), &id).await?;
        Ok(reply::see_other("/connections"))
    };
    page_or(&app, outcome.await)
}

/// Takes a denial back.
pub(super) async fn revise(State(app): State<App>, Segment(id): Segment, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Err(Refusal::CrossSite.into());
        };
        visitor::form_of(&app, &headers, &form, &session)?;
        consent::revise(&app, &account, &id).await?;
        Ok(reply::see_other("/connections"))
    };
    page_or(&app, outcome.await)
}

fn agent(client: &Client) -> pages::Agent {
    pages::Agent { name: client.name.clone(), known: Known::Operator }
}

fn service(known: Option<&Service>, aud: &str) -> pages::Service {
    let host = Audience::parse(aud).map_or_else(|_| aud.to_owned(), |a| a.host());
    pages::Service { name: known.and_then(|s| s.name.clone()), host }
}

fn item(connection: &Connection) -> pages::Connection {
    let Connection { delegation, consents, deliveries, .. } = connection;
    let standing = consents.iter().filter(|(_, c)| c.ended_at.is_none());
    let best = standing.map(|(_, c)| c).max_by_key(|c| match c.mode {
        crate::domain::consent::Mode::Always => (2, 0),
        crate::domain::consent::Mode::Until(at) => (1, at),
        _ => (0, 0),
    });
    let last =
        deliveries.iter().filter(|d| d.created_at >= delegation.ended_at.unwrap_or(i64::MAX)).collect::<Vec<_>>();
    let confirmed = last.iter().all(|d| d.state == "delivered");
    let state = match delegation.status() {
        Status::Active => Shown::Active(match best {
            Some(consent) => format!("Active: {}", lower_first(&words::mode(consent.mode))),
            None => "Used; no agent can use it again without asking".to_owned(),
        }),
        Status::Withdrawing => Shown::Withdrawing("Stopped here; the service has not confirmed everything yet".into()),
        Status::Withdrawn if delegation.used == 0 => Shown::Withdrawn("Ended before it was ever used".into()),
        Status::Withdrawn if last.is_empty() => {
            Shown::Unconfirmed("Stopped here; the service cannot be told, so end your sessions there yourself".into())
        }
        Status::Withdrawn if confirmed => {
            let at = last.iter().filter_map(|d| d.ended_at).max().unwrap_or_default();
            Shown::Withdrawn(format!("Ended, confirmed by the service on {}", words::time(at)))
        }
        Status::Withdrawn => Shown::Unconfirmed(
            "Stopped here; the service never confirmed it, so end your sessions there yourself".into(),
        ),
    };
    let service = service(connection.service.as_ref(), &delegation.aud);
    let way = delegation.ended_at.map_or_else(Vec::new, |ended| {
        let recent: Vec<_> = last.iter().map(|d| (*d).clone()).collect();
        words::way(ended, &service.host, &recent)
    });
    let used = |n: i64| if n == 1 { "once".to_owned() } else { format!("{n} times") };
    pages::Connection {
        id: delegation.id.clone(),
        service,
        state,
        agents: consents
            .iter()
            .map(|(client, consent)| pages::AgentLine {
                agent: agent(client),
                mode: words::standing(consent),
                scopes: consent.scope.iter().map(str::to_owned).collect(),
                agreed: words::time(consent.created_at),
            })
            .collect(),
        last_used: delegation.last_used_at.map(|at| {
            let by = delegation.last_client.as_deref().map(|name| format!(", last by {name}")).unwrap_or_default();
            format!("{}, {} in all{by}", words::time(at), used(delegation.used))
        }),
        way: way.into_iter().map(|(time, text)| pages::WayLine { time, text }).collect(),
        can_stop: delegation.status() == Status::Active,
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}
