//! `/consent/{ticket}`: the question and the answer.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::csrf::SignedForm;
use super::extract::Segment;
use super::form::Pairs;
use super::note::{self, NOTE};
use super::pages::{self, Disclosed, KnownLine, ModeChoice, Outcome, ScopeChoice};
use super::session::{SignedIn, sign_in_at};
use super::{error, parties, reply, wording};
use crate::domain::consent::{Mode, UNTIL_CHOICES};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::service_policy::Claim;
use crate::domain::session::Account;
use crate::domain::understood::Said;
use crate::error::Error;
use crate::flow::consent::{Answer, TicketView, decide, ticket_view};
use crate::host::App;

/// Most scopes whose choice is kept; nobody looks through more, and what is not kept is not ticked.
const MAX_KEPT: usize = 500;

pub(super) async fn get(
    app: App,
    Segment(ticket): Segment,
    RawQuery(query): RawQuery,
    visitor: SignedIn,
) -> Result<Response, Error> {
    let Some(view) = ticket_view(&app, &visitor.account, &ticket).await? else {
        // Whoever is signed in as somebody else learns nothing of it.
        let here = here(&ticket);
        let page = pages::WrongAccount {
            site: reply::site(&app),
            account: visitor.bar(&app, &here),
            switch_to: sign_in_at(&app, &here),
        };
        return Ok(reply::page(StatusCode::FORBIDDEN, &page.html()));
    };
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    let refused: Option<Refused> = note::open(&app, &place(&visitor, &ticket), query.single(NOTE)?.as_deref());
    let refusal = refused.as_ref().map(|refused| refused.why.refusal());
    Ok(match refusal {
        Some(refusal) if view.open != (refusal == Refusal::TicketClosed) => {
            let status = error::status(&refusal);
            let html = if view.open {
                open(&app, &visitor, &view, refused.as_ref()).html()
            } else {
                closed(&app, &visitor, &view, true).html()
            };
            reply::page(status, &html)
        }
        _ if view.open => reply::page(StatusCode::OK, &open(&app, &visitor, &view, None).html()),
        _ => reply::page(StatusCode::OK, &closed(&app, &visitor, &view, false).html()),
    })
}

pub(super) async fn post(
    app: App,
    Segment(ticket): Segment,
    SignedForm { visitor, form, .. }: SignedForm,
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
        Err(Error::Refused(refusal)) => match Why::of(&refusal) {
            Some(why) => again(&app, &visitor, &ticket, why, (&answer.scope, chosen)).await,
            None => Err(refusal.into()),
        },
        Err(fault) => Err(fault),
    }
}

fn here(ticket: &str) -> String {
    format!("/consent/{ticket}")
}

/// Whose page it is, for what it is told of the last answer.
fn place(visitor: &SignedIn, ticket: &str) -> String {
    format!("{} {}", here(ticket), visitor.session.id)
}

/// What an answer that was refused leaves for the question that is shown again.
#[derive(Serialize, Deserialize)]
struct Refused {
    why: Why,
    /// For each scope that was asked for, in their order, whether it was ticked.
    ticked: Vec<bool>,
    mode: String,
}

/// What is wrong with an answer that a person can well give: nothing left ticked, a page that is out of date, a second click. Nothing was
/// recorded.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    NothingTicked,
    Mismatch,
    Closed,
}

impl Why {
    fn of(refusal: &Refusal) -> Option<Self> {
        [Self::NothingTicked, Self::Mismatch, Self::Closed].into_iter().find(|why| why.refusal() == *refusal)
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::NothingTicked => Refusal::NOTHING_TICKED,
            Self::Mismatch => Refusal::TicketMismatch,
            Self::Closed => Refusal::TicketClosed,
        }
    }
}

/// To the question once more, or to what became of it.
async fn again(
    app: &App,
    visitor: &SignedIn,
    ticket: &str,
    why: Why,
    (scope, mode): (&Scope, String),
) -> Result<Response, Error> {
    let view = ticket_view(app, &visitor.account, ticket).await?.ok_or(Refusal::NotFound)?;
    let ticked = view.ticket.scope.iter().take(MAX_KEPT).map(|token| scope.has(token)).collect();
    let note = note::seal(app, &place(visitor, ticket), &Refused { why, ticked, mode })?;
    Ok(reply::to_page(app, &format!("{}?{NOTE}={note}", here(ticket))))
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

/// What the service says of itself, each with its source.
fn known(view: &TicketView) -> Vec<KnownLine> {
    // What another one says is no word of this one's, also where its document names that one.
    let audience = view.service.audience.as_str();
    let proven = view.understood.as_ref().filter(|understood| understood.issuer.as_deref() == Some(audience));
    let line = |field: Said<(&'static str, String)>| KnownLine {
        what: field.value.0.to_owned(),
        value: field.value.1,
        why: match (field.member, field.document) {
            (Some(member), Some(document)) => format!("{}: {member} of {document}", field.why),
            _ => field.why,
        },
    };
    proven.map(|understood| understood.fields().into_iter().map(line).collect()).unwrap_or_default()
}

/// What the service would be told if it were verified.
fn withheld(view: &TicketView, account: &Account) -> Vec<String> {
    let wanted = |claim| view.service.policy.claims.contains(&claim) && !view.disclosed.has(claim);
    let email = (wanted(Claim::Email)).then(|| account.email.clone());
    let phone = account.phone_number.clone().filter(|_| wanted(Claim::PhoneNumber));
    email.into_iter().chain(phone).collect()
}

/// `refused` is the user's last answer, whose choices stay.
fn open(app: &App, visitor: &SignedIn, view: &TicketView, refused: Option<&Refused>) -> pages::Consent {
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
        mode.checked = refused.is_some_and(|refused| mode.value == refused.mode);
    }
    let ticked = |n: usize| refused.is_none_or(|refused| refused.ticked.get(n).copied().unwrap_or(false));
    let why = refused.map(|refused| refused.why);
    pages::Consent {
        site: reply::site(app),
        account: visitor.bar(app, &here(&ticket.id)),
        agent: parties::agent(&view.client),
        service: parties::service(Some(&view.service), view.service.audience.as_str()),
        known: (!view.service.source.is_operators()).then(|| known(view)),
        first_time_service: !view.known.0,
        first_time_agent: !view.known.1,
        disclosed: disclosed(view, &visitor.account),
        withheld: withheld(view, &visitor.account),
        scopes: ticket
            .scope
            .iter()
            .enumerate()
            .map(|(n, token)| ScopeChoice { token: token.to_owned(), checked: ticked(n) })
            .collect(),
        resources: ticket.resources.clone(),
        context: Some(context).filter(|c| !c.is_empty()),
        modes,
        no_revocation: view.service.policy.notices.is_empty(),
        expires_in_minutes: u32::try_from(((ticket.expires_at - app.now()).0 + 59) / 60).unwrap_or(1),
        ticket: ticket.id.clone(),
        digest: view.digest.clone(),
        error: (why == Some(Why::Mismatch))
            .then(|| "Something about this question has changed. Please look at it again.".to_owned()),
        scope_error: (why == Some(Why::NothingTicked))
            .then(|| "Leave at least one of these ticked, or deny.".to_owned()),
    }
}

fn closed(app: &App, visitor: &SignedIn, view: &TicketView, too_late: bool) -> pages::ConsentClosed {
    let outcome = match view.decided {
        Some(Mode::Denied) => Outcome::Denied,
        Some(mode) => Outcome::Allowed(wording::mode(mode, app.now())),
        None => Outcome::Expired,
    };
    pages::ConsentClosed {
        site: reply::site(app),
        // An expired question was never answered.
        too_late: too_late && view.decided.is_some(),
        account: visitor.bar(app, &here(&view.ticket.id)),
        outcome,
        agent: parties::agent(&view.client),
        service: parties::service(Some(&view.service), view.service.audience.as_str()),
    }
}
