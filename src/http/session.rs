//! The session of the browser at the other end, and the way to one.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded::Serializer;

use super::{cookie, pages, reply};
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::sign_in;
use crate::host::{App, Host};
use crate::secret::Secret;

/// A page's visitor, who is signed in. Anybody else is sent to the sign-in page, with the way back.
pub(super) struct SignedIn {
    pub(super) session: Session,
    pub(super) account: Account,
    /// What each form of their pages carries.
    pub(super) csrf: Secret,
}

impl SignedIn {
    /// The bar of their pages; `here` is where another account comes back to.
    pub(super) fn bar(&self, app: &App, here: &str) -> pages::Account {
        pages::Account {
            name: self.account.email.clone(),
            csrf: self.csrf.expose().to_owned(),
            switch_to: sign_in_at(app, here),
        }
    }
}

impl FromRequestParts<Host> for SignedIn {
    type Rejection = Detour;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Detour> {
        let app = App::from_request_parts(parts, host).await?;
        let here = || parts.uri.path_and_query().map_or("/", |here| here.as_str());
        visitor(&app, &parts.headers).await?.ok_or_else(|| Detour::SignIn(sign_in_at(&app, here())))
    }
}

/// An answer in place of the one that was asked for.
pub(super) enum Detour {
    /// To the sign-in page.
    SignIn(String),
    /// An error.
    Error(Error),
}

impl IntoResponse for Detour {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(location) => reply::see_other(&location),
            Self::Error(error) => error.into_response(),
        }
    }
}

impl From<Error> for Detour {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Refusal> for Detour {
    fn from(refusal: Refusal) -> Self {
        Self::Error(refusal.into())
    }
}

/// The visitor, if the browser has a live session.
pub(super) async fn visitor(app: &App, headers: &HeaderMap) -> Result<Option<SignedIn>, Error> {
    let Some(token) = cookie::get(app, headers, cookie::SESSION) else { return Ok(None) };
    let found = sign_in::session(app, &token).await?;
    Ok(found.map(|(session, account)| SignedIn { csrf: app.sealing.keys().form_token(&session.id), session, account }))
}

/// The sign-in page, with the way back.
pub(super) fn sign_in_at(app: &App, to: &str) -> String {
    let to = reply::path(app, to);
    format!("{}?{}", reply::path(app, "/login"), Serializer::new(String::new()).append_pair("to", &to).finish())
}
