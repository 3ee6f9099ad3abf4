//! `/login` and `/logout`.

use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use super::client_address::ClientAddress;
use super::csrf::{SignedForm, same_origin};
use super::form::Pairs;
use super::note::{self, NOTE};
use super::way_back::{HOME, way_back};
use super::{cookie, error, pages, parties, reply, session};
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::client_auth;
use crate::flow::known_browser::KnownBrowser;
use crate::flow::sign_in::{self, Attempt};
use crate::host::App;
use crate::secret::{Secret, same};

/// Longest browser name that is kept.
const MAX_USER_AGENT: usize = 200;
/// Longest e-mail address that the form still holds after an error: longer than any (RFC 5321 section 4.5.3.1).
const MAX_EMAIL: usize = 320;
/// Where the form is.
const PLACE: &str = "/login";

pub(super) async fn get(app: App, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Error> {
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    let failed: Option<Failed> = note::open(&app, PLACE, query.single(NOTE)?.as_deref());
    let refusal = failed.as_ref().and_then(|failed| failed.why.refusal(app.now()));
    let hint = query.single("email")?.unwrap_or_default();
    let shown = Shown {
        to: way_back(&app, query.single("to")?).unwrap_or_else(|| HOME.to_owned()),
        email: failed.map_or(hint, |failed| failed.email),
        error: refusal.as_ref().map(said),
        reauthenticate: query.single("again")?.is_some(),
    };
    let mut response = form(&app, &headers, shown, refusal.as_ref().map_or(StatusCode::OK, error::status)).await?;
    if let Some(seconds) = refusal.as_ref().and_then(error::retry_after) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.0));
    }
    Ok(response)
}

/// What a sign-in that failed leaves for the form that is shown again.
#[derive(Serialize, Deserialize)]
struct Failed {
    why: Why,
    email: String,
}

#[derive(Serialize, Deserialize)]
enum Why {
    Credentials,
    Throttled(Timestamp),
    Busy,
    Stale,
}

impl Why {
    /// What of the refusals is shown on the form; any other is an error of its own.
    fn of(refusal: &Refusal, now: Timestamp) -> Option<Self> {
        Some(match refusal {
            Refusal::CredentialsWrong => Self::Credentials,
            Refusal::Throttled(seconds) => Self::Throttled(now + *seconds),
            Refusal::Busy => Self::Busy,
            Refusal::SignInFormStale => Self::Stale,
            _ => return None,
        })
    }

    /// The refusal as it stands now: who has waited is no longer told to.
    fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        match self {
            Self::Credentials => Some(Refusal::CredentialsWrong),
            Self::Throttled(until) => Some(Refusal::Throttled(*until - now)).filter(|_| *until > now),
            Self::Busy => Some(Refusal::Busy),
            Self::Stale => Some(Refusal::SignInFormStale),
        }
    }
}

fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Busy => "Too many people are signing in at the moment. Please try again.".to_owned(),
        _ => refusal.to_string(),
    }
}

struct Shown {
    /// Without the issuer's base.
    to: String,
    email: String,
    error: Option<String>,
    reauthenticate: bool,
}

async fn form(app: &App, headers: &HeaderMap, shown: Shown, status: StatusCode) -> Result<Response, Error> {
    let who = match client_of(&shown.to) {
        Some(client_id) => client_auth::find(app, &client_id).await?,
        None => None,
    };
    // The browser keeps one token over all its sign-in pages, so that two tabs do not undo each other.
    let kept = cookie::get(app, headers, cookie::SIGN_IN).filter(|token| token.len() == 43);
    let csrf = kept.clone().unwrap_or_else(|| app.rng.token());
    let page = pages::Login {
        site: reply::site(app),
        csrf: csrf.clone(),
        to: reply::path(app, &shown.to),
        email: shown.email,
        who: who.map(|registered| parties::agent(&registered.client)),
        error: shown.error,
        reauthenticate: shown.reauthenticate,
    };
    let mut response = reply::page(status, &page.html());
    if kept.is_none() {
        cookie::set(app, &mut response, cookie::SIGN_IN, &csrf);
    }
    Ok(response)
}

pub(super) async fn post(
    app: App,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    sent: Pairs,
) -> Result<Response, Error> {
    same_origin(&app, &headers)?;
    let to = way_back(&app, sent.single("to")?).unwrap_or_else(|| HOME.to_owned());
    let email = sent.single("email")?.unwrap_or_default();
    let password = Secret::new(sent.single("password")?.unwrap_or_default());
    let user_agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let user_agent = user_agent.map(|v| v.chars().take(MAX_USER_AGENT).collect());
    let current = session::visitor(&app, &headers).await?.map(|visitor| visitor.session);
    let shown = cookie::get(&app, &headers, cookie::SIGN_IN).unwrap_or_default();
    let outcome = if !shown.is_empty() && same(&shown, &sent.single("csrf")?.unwrap_or_default()) {
        let browser = cookie::get(&app, &headers, cookie::KNOWN_BROWSER);
        let browser = browser.as_deref().map(KnownBrowser::parse).unwrap_or_default();
        let attempt = Attempt { email: &email, password, address, browser, user_agent, current: current.as_ref() };
        sign_in::sign_in(&app, attempt).await
    } else {
        Err(Refusal::SignInFormStale.into())
    };
    match outcome {
        Ok(signed_in) => {
            let mut response = reply::to_page(&app, &to);
            cookie::set(&app, &mut response, cookie::SESSION, signed_in.session.expose());
            cookie::set(&app, &mut response, cookie::KNOWN_BROWSER, signed_in.browser.expose());
            Ok(response)
        }
        Err(Error::Refused(refusal)) => match Why::of(&refusal, app.now()) {
            Some(why) => again(&app, &to, Failed { why, email }, current.is_some()),
            None => Err(refusal.into()),
        },
        Err(error) => Err(error),
    }
}

/// To the form once more, which says what was wrong.
fn again(app: &App, to: &str, mut failed: Failed, reauthenticate: bool) -> Result<Response, Error> {
    if failed.email.len() > MAX_EMAIL {
        failed.email.clear();
    }
    let mut query = Serializer::new(String::new());
    query.append_pair("to", &reply::path(app, to));
    if reauthenticate {
        query.append_pair("again", "1");
    }
    query.append_pair(NOTE, &note::seal(app, PLACE, &failed)?);
    Ok(reply::to_page(app, &format!("{PLACE}?{}", query.finish())))
}

/// Ends the session of this browser; everything that rests on it ends with it.
pub(super) async fn out(app: App, sent: SignedForm) -> Result<Response, Error> {
    sign_in::sign_out(&app, &sent.visitor.session).await?;
    let mut response = reply::to_page(&app, "/login");
    cookie::set(&app, &mut response, cookie::SESSION, "");
    Ok(response)
}

/// The client that waits at the end of the way back.
fn client_of(to: &str) -> Option<ClientId> {
    let query = to.strip_prefix("/authorize?")?;
    ClientId::try_from(Pairs::parse(query.as_bytes()).single("client_id").ok()??).ok()
}
