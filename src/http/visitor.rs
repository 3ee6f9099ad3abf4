//! Who is at the other end of a page: their session, their address, and whether a form came from a page of ours.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::form::Pairs;
use super::{cookie, pages};
use crate::app::App;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::sign_in;
use crate::secret::same;

/// The address a request came from, past proxies that are trusted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address(pub(super) Option<IpAddr>);

impl FromRequestParts<App> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
        Ok(Self(peer.map(|peer| behind_proxies(app, peer, &parts.headers))))
    }
}

/// Walks `X-Forwarded-For` from its end, where our own proxy wrote, to the first address that is none of ours.
fn behind_proxies(app: &App, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let trusted = |ip: &IpAddr| app.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()));
    if !trusted(&peer) {
        return peer;
    }
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    let mut client = peer;
    for text in lines.join(",").split(',').rev() {
        match text.trim().parse::<IpAddr>() {
            Ok(ip) => client = ip,
            Err(_) => break,
        }
        if !trusted(&client) {
            break;
        }
    }
    client
}

/// The signed-in user, if the browser has a live session.
pub(super) async fn user(app: &App, headers: &HeaderMap) -> Result<Option<(Session, Account)>, Error> {
    match cookie::get(app, headers, cookie::SESSION) {
        Some(token) => sign_in::session(app, &token).await,
        None => Ok(None),
    }
}

/// Refuses a post that a page of another site sent: by what the browser says of its origin, and by a token only our page knows.
pub(super) fn same_site(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("unreadable"));
    let fetch = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = text(header::ORIGIN.as_str()).is_none_or(|origin| origin == app.issuer.as_str());
    if fetch && origin { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// Refuses a form that does not carry its session's token.
pub(super) fn form_of(app: &App, headers: &HeaderMap, form: &Pairs, session: &Session) -> Result<(), Refusal> {
    same_site(app, headers)?;
    let given = form.single("csrf")?.unwrap_or_default();
    if same(&given, &session.csrf) { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// The bar of a signed-in page; `here` is where another account comes back to.
pub(super) fn account(session: &Session, account: &Account, here: &str) -> pages::Account {
    pages::Account { name: account.email.clone(), csrf: session.csrf.clone(), switch_to: sign_in_at(here) }
}

/// The sign-in page, with the way back.
pub(super) fn sign_in_at(to: &str) -> String {
    format!("/login?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish())
}
