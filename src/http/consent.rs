//! `/consent/{ticket}`: the question and the answer.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::form::Pairs;
use super::pages::{self, Known, ModeChoice, Outcome, ScopeChoice, Told};
use super::segment::Segment;
use super::{error, page_or, reply, visitor, words};
use crate::domain::consent::{Mode, UNTIL_CHOICES};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::consent::{Answer, Question, decide, question};
use crate::host::App;

pub(super) async fn get(app: App, Segment(ticket): Segment, headers: HeaderMap) -> Response {
    let outcome = async {
        let here = format!("/consent/{ticket}");
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Ok(reply::see_other(&visitor::sign_in_at(&here)));
        };
        let bar = visitor::account(&session, &account, &here);
        Ok(match question(&app, &account, &ticket).await? {
            // Whoever is signed in as somebody else learns nothing of it.
            None => {
                let page = pages::WrongAccount {
                    site: reply::site(&app),
                    account: bar,
                    switch_to: visitor::sign_in_at(&here),
                };
                reply::page(StatusCode::FORBIDDEN, &page.html())
            }
            Some(question) if question.open => {
                reply::page(StatusCode::OK, &open(&app, &session, &account, &question, None).html())
            }
            Some(question) => reply::page(StatusCode::OK, &closed(&app, bar, &question).html()),
        })
    };
    page_or(&app, outcome.await)
}

pub(super) async fn post(app: App, Segment(ticket): Segment, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let here = format!("/consent/{ticket}");
        let Some((session, account)) = visitor::user(&app, &headers).await? else {
            return Ok(reply::see_other(&visitor::sign_in_at(&here)));
        };
        visitor::form_of(&app, &headers, &form, &session)?;
        let mode = match form.required("decision")?.as_str() {
            "allow" => Some(Mode::posted(&form.required("mode")?, app.now())?),
            "deny" => None,
            _ => return Err(Refusal::Malformed("decision", "must be allow or deny").into()),
        };
        let scope: Scope = form.many("scope").iter().map(String::as_str).collect();
        let answer = Answer { digest: form.required("digest")?, mode, scope };
        match decide(&app, &session, &account, &ticket, &answer).await {
            Ok(()) => Ok(reply::see_other(&here)),
            Err(Error::Refused(refusal)) => again(&app, &session, &account, &ticket, refusal).await,
            Err(fault) => Err(fault),
        }
    };
    page_or(&app, outcome.await)
}

/// The question once more, or what became of it, for an answer that a person can well give: nothing left ticked, a second click, a page
/// that is out of date. Nothing was recorded.
async fn again(
    app: &App,
    session: &Session,
    account: &Account,
    ticket: &str,
    refusal: Refusal,
) -> Result<Response, Error> {
    let advice = match &refusal {
        Refusal::Malformed("scope", _) => "Leave at least one thing ticked that the agent may do there, or deny.",
        Refusal::TicketMismatch => "Something about this question has changed. Please look at it again.",
        Refusal::TicketClosed => "",
        _ => return Err(refusal.into()),
    };
    let (_, status) = error::code_and_status(&refusal);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let question = question(app, account, ticket).await?.ok_or(Refusal::NotFound)?;
    Ok(if question.open {
        reply::page(status, &open(app, session, account, &question, Some(advice)).html())
    } else {
        let bar = visitor::account(session, account, &format!("/consent/{ticket}"));
        reply::page(status, &closed(app, bar, &question).html())
    })
}

fn agent(question: &Question) -> pages::Agent {
    pages::Agent { name: question.client.name.clone(), known: Known::Operator }
}

fn service(question: &Question) -> pages::Service {
    pages::Service { name: question.service.name.clone(), host: question.service.audience.host() }
}

fn open(app: &App, session: &Session, account: &Account, question: &Question, error: Option<&str>) -> pages::Consent {
    let ticket = &question.ticket;
    let mut told: Vec<Told> = question
        .told
        .iter()
        .map(|(claim, value)| {
            let (what, why) = words::claim(*claim);
            Told { what: what.to_owned(), value: Some(value.clone()), why: why.to_owned() }
        })
        .collect();
    let signed_in =
        Told { what: "When you last signed in".into(), value: None, why: "so that old sessions don't count".into() };
    told.push(signed_in);
    let context = [&ticket.agent_context_id, &ticket.agent_platform]
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let mut modes = vec![ModeChoice::once()];
    modes.extend(UNTIL_CHOICES.iter().map(|(seconds, label)| ModeChoice::until(seconds.unsigned_abs(), label)));
    modes.push(ModeChoice::always());
    pages::Consent {
        site: reply::site(app),
        account: visitor::account(session, account, &format!("/consent/{}", ticket.id)),
        agent: agent(question),
        service: service(question),
        first_time_service: !question.known.0,
        first_time_agent: !question.known.1,
        told,
        scopes: ticket.scope.iter().map(|token| ScopeChoice { token: token.to_owned(), checked: true }).collect(),
        resources: ticket.resources.clone(),
        context: Some(context).filter(|c| !c.is_empty()),
        modes,
        no_revocation: question.service.revocation_uri.is_none(),
        expires_in_minutes: u32::try_from((ticket.expires_at - app.now() + 59) / 60).unwrap_or(1),
        ticket: ticket.id.clone(),
        digest: question.digest.clone(),
        error: error.map(str::to_owned),
    }
}

fn closed(app: &App, bar: pages::Account, question: &Question) -> pages::ConsentClosed {
    let outcome = match question.decided {
        Some(Mode::Denied) => Outcome::Denied,
        Some(mode) => Outcome::Allowed(words::mode(mode)),
        None => Outcome::Expired,
    };
    pages::ConsentClosed {
        site: reply::site(app),
        account: bar,
        outcome,
        agent: agent(question),
        service: service(question),
    }
}
