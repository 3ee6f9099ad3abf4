//! `/login` and `/logout`.

use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::client_address::ClientAddress;
use super::csrf::{SignedForm, same_origin};
use super::form::Pairs;
use super::way_back::{HOME, way_back};
use super::{cookie, error, pages, reply, session};
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::client_auth;
use crate::flow::known_browser::KnownBrowser;
use crate::flow::sign_in::{self, Attempt};
use crate::host::App;
use crate::secret::{Secret, same};

/// Longest browser name that is kept.
const MAX_USER_AGENT: usize = 200;

pub(super) async fn get(app: App, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Error> {
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    let shown = Shown {
        to: way_back(&app, query.single("to")?).unwrap_or_else(|| HOME.to_owned()),
        email: query.single("email")?.unwrap_or_default(),
        error: None,
        reauthenticate: query.single("again")?.is_some(),
    };
    form(&app, &headers, shown, StatusCode::OK).await
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
        who: who.map(|r| pages::Agent { name: r.client.title(), known: pages::Known::Operator }),
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
    let refusal = match outcome {
        Ok(signed_in) => {
            let mut response = reply::to_page(&app, &to);
            cookie::set(&app, &mut response, cookie::SESSION, signed_in.session.expose());
            cookie::set(&app, &mut response, cookie::KNOWN_BROWSER, signed_in.browser.expose());
            return Ok(response);
        }
        Err(Error::Refused(
            refusal @ (Refusal::CredentialsWrong | Refusal::Throttled(_) | Refusal::Busy | Refusal::SignInFormStale),
        )) => refusal,
        Err(error) => return Err(error),
    };
    let said = match refusal {
        Refusal::Busy => "Too many people are signing in at the moment. Please try again.".to_owned(),
        _ => refusal.to_string(),
    };
    let shown = Shown { to, email, error: Some(said), reauthenticate: current.is_some() };
    let mut response = form(&app, &headers, shown, error::status(&refusal)).await?;
    if let Some(seconds) = error::retry_after(&refusal) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.0));
    }
    Ok(response)
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
