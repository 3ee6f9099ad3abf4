//! `/consent/{ticket}`: the question and the answer.

use axum::http::StatusCode;
use axum::response::Response;

use super::csrf::SignedForm;
use super::extract::Segment;
use super::pages::{self, Disclosed, Known, ModeChoice, Outcome, ScopeChoice};
use super::session::{SignedIn, sign_in_at};
use super::{error, reply, wording};
use crate::domain::consent::{Mode, UNTIL_CHOICES};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::service_policy::Claim;
use crate::domain::session::Account;
use crate::error::Error;
use crate::flow::consent::{Answer, TicketView, decide, ticket_view};
use crate::host::App;

pub(super) async fn get(app: App, Segment(ticket): Segment, visitor: SignedIn) -> Result<Response, Error> {
    Ok(match ticket_view(&app, &visitor.account, &ticket).await? {
        // Whoever is signed in as somebody else learns nothing of it.
        None => {
            let here = here(&ticket);
            let page = pages::WrongAccount {
                site: reply::site(&app),
                account: visitor.bar(&app, &here),
                switch_to: sign_in_at(&app, &here),
            };
            reply::page(StatusCode::FORBIDDEN, &page.html())
        }
        Some(view) if view.open => reply::page(StatusCode::OK, &open(&app, &visitor, &view, None).html()),
        Some(view) => reply::page(StatusCode::OK, &closed(&app, &visitor, &view, false).html()),
    })
}

pub(super) async fn post(
    app: App,
    Segment(ticket): Segment,
    SignedForm { visitor, form }: SignedForm,
) -> Result<Response, Error> {
    let chosen = form.single("mode")?.unwrap_or_default();
    let mode = match form.required("decision")?.as_str() {
        "allow" => Some(Mode::posted(&form.required("mode")?, app.now())?),
        "deny" => None,
        _ => return Err(Refusal::Malformed("decision", "must be allow or deny").into()),
    };
    let scope: Scope = form.many("scope").iter().map(String::as_str).collect();
    let answer = Answer { digest: form.required("digest")?, mode, scope };
    match decide(&app, &visitor.session, &visitor.account, &ticket, &answer).await {
        Ok(()) => Ok(reply::to_page(&app, &here(&ticket))),
        Err(Error::Refused(refusal)) => again(&app, &visitor, &ticket, (&answer.scope, &chosen), refusal).await,
        Err(fault) => Err(fault),
    }
}

fn here(ticket: &str) -> String {
    format!("/consent/{ticket}")
}

/// The question once more, or what became of it, for an answer that a person can well give: nothing left ticked, a second click, a page
/// that is out of date. Nothing was recorded.
async fn again(
    app: &App,
    visitor: &SignedIn,
    ticket: &str,
    (scope, mode): (&Scope, &str),
    refusal: Refusal,
) -> Result<Response, Error> {
    let advice = match &refusal {
        Refusal::Malformed("scope", _) => "Leave at least one of these ticked, or deny.",
        Refusal::TicketMismatch => "Something about this question has changed. Please look at it again.",
        Refusal::TicketClosed => "",
        _ => return Err(refusal.into()),
    };
    let status = error::status(&refusal);
    let view = ticket_view(app, &visitor.account, ticket).await?.ok_or(Refusal::NotFound)?;
    Ok(if view.open {
        let mut page = open(app, visitor, &view, Some((scope, mode)));
        let place = if refusal == Refusal::TicketMismatch { &mut page.error } else { &mut page.scope_error };
        *place = Some(advice.to_owned());
        reply::page(status, &page.html())
    } else {
        reply::page(status, &closed(app, visitor, &view, true).html())
    })
}

fn agent(view: &TicketView) -> pages::Agent {
    pages::Agent { name: view.client.title(), known: Known::Operator }
}

fn service(view: &TicketView) -> pages::Service {
    pages::Service {
        name: view.service.policy.name.as_ref().map(ToString::to_string),
        host: view.service.audience.host(),
    }
}

/// What would leave, a row for each thing a person thinks of as one.
fn disclosed(view: &TicketView, account: &Account) -> Vec<Disclosed> {
    let claims = view.disclosed;
    let row = |claim, verified: Option<Claim>, value: Option<&str>| {
        let value = value.filter(|_| claims.has(claim))?;
        let (what, why) = wording::claim(claim);
        let new = view.unseen.has(claim) || verified.is_some_and(|verified| view.unseen.has(verified));
        let verified = verified.filter(|verified| claims.has(*verified)).map_or("", |_| " (verified)");
        Some(Disclosed { what: what.into(), value: Some(format!("{value}{verified}")), why: why.into(), new })
    };
    let (what, why) = wording::sign_in(claims.has(Claim::Amr));
    let sign_in = Disclosed { what: what.into(), value: None, why: why.into(), new: view.unseen.has(Claim::Amr) };
    [
        row(Claim::Email, Some(Claim::EmailVerified), Some(&account.email)),
        row(Claim::PhoneNumber, Some(Claim::PhoneNumberVerified), account.phone_number.as_deref()),
        row(Claim::Name, None, account.name.as_deref()),
        Some(sign_in),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the service would be told if it were verified.
fn withheld(view: &TicketView, account: &Account) -> Vec<String> {
    let wanted = |claim| view.service.policy.claims.contains(&claim) && !view.disclosed.has(claim);
    let email = (wanted(Claim::Email)).then(|| account.email.clone());
    let phone = account.phone_number.clone().filter(|_| wanted(Claim::PhoneNumber));
    email.into_iter().chain(phone).collect()
}

/// `kept` is what the user had chosen: scopes and mode.
fn open(app: &App, visitor: &SignedIn, view: &TicketView, kept: Option<(&Scope, &str)>) -> pages::Consent {
    let ticket = &view.ticket;
    let context = [&ticket.agent_context_id, &ticket.agent_platform]
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let mut modes = vec![ModeChoice::once()];
    modes.extend(UNTIL_CHOICES.iter().map(|(seconds, label)| ModeChoice::until(*seconds, label)));
    modes.push(ModeChoice::always());
    for mode in &mut modes {
        mode.checked = kept.is_some_and(|(_, chosen)| mode.value == chosen);
    }
    let ticked = |token: &str| kept.is_none_or(|(scope, _)| scope.has(token));
    pages::Consent {
        site: reply::site(app),
        account: visitor.bar(app, &here(&ticket.id)),
        agent: agent(view),
        service: service(view),
        first_time_service: !view.known.0,
        first_time_agent: !view.known.1,
        disclosed: disclosed(view, &visitor.account),
        withheld: withheld(view, &visitor.account),
        scopes: ticket
            .scope
            .iter()
            .map(|token| ScopeChoice { token: token.to_owned(), checked: ticked(token) })
            .collect(),
        resources: ticket.resources.clone(),
        context: Some(context).filter(|c| !c.is_empty()),
        modes,
        no_revocation: view.service.policy.notices.is_empty(),
        expires_in_minutes: u32::try_from(((ticket.expires_at - app.now()).0 + 59) / 60).unwrap_or(1),
        ticket: ticket.id.clone(),
        digest: view.digest.clone(),
        error: None,
        scope_error: None,
    }
}

fn closed(app: &App, visitor: &SignedIn, view: &TicketView, too_late: bool) -> pages::ConsentClosed {
    let outcome = match view.decided {
        Some(Mode::Denied) => Outcome::Denied,
        Some(mode) => Outcome::Allowed(wording::mode(mode)),
        None => Outcome::Expired,
    };
    pages::ConsentClosed {
        site: reply::site(app),
        // An expired question was never answered.
        too_late: too_late && view.decided.is_some(),
        account: visitor.bar(app, &here(&view.ticket.id)),
        outcome,
        agent: agent(view),
        service: service(view),
    }
}
