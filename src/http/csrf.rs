//! Whether a form was sent by a page of ours.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use url::{Position, Url};

use super::form::Pairs;
use super::reply;
use super::session::{Detour, SignedIn, sign_in_at, visitor};
use super::way_back::way_back;
use crate::domain::refusal::Refusal;
use crate::host::{App, Host};

/// A form that a page of ours sent for its signed-in visitor. Whoever is not signed in (any more) is sent to sign in and back to that
/// page; nothing is done for them.
pub(super) struct SignedForm {
    pub(super) visitor: SignedIn,
    pub(super) form: Pairs,
    /// The page it stood on, if the browser says so.
    pub(super) page: Option<String>,
}

impl FromRequest<Host> for SignedForm {
    type Rejection = Detour;

    async fn from_request(request: Request, host: &Host) -> Result<Self, Detour> {
        let (mut parts, body) = request.into_parts();
        let app = App::from_request_parts(&mut parts, host).await?;
        same_origin(&app, &parts.headers)?;
        let page = page_of(&app, &parts.headers);
        let Some(visitor) = visitor(&app, &parts.headers).await? else {
            return Err(Detour::SignIn(
                page.map_or_else(|| reply::path(&app, "/login"), |page| sign_in_at(&app, &page)),
            ));
        };
        let form = Pairs::read(&parts.headers, body).await?;
        let given = form.single("csrf")?.unwrap_or_default();
        if !app.sealing.keys().is_form_token(&visitor.session.id, &given) {
            return Err(Refusal::CrossSite.into());
        }
        Ok(Self { visitor, form, page })
    }
}

/// Refuses a post that a page of another origin sent, by what the browser says of it.
pub(super) fn same_origin(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("unreadable"));
    let fetch = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = text(header::ORIGIN.as_str()).is_none_or(|origin| origin == app.issuer.url.origin());
    if fetch && origin { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// The page a form stood on, which our pages' referrer policy lets the browser say.
fn page_of(app: &App, headers: &HeaderMap) -> Option<String> {
    let referer = headers.get(header::REFERER).and_then(|v| v.to_str().ok()).and_then(|v| Url::parse(v).ok());
    let page = referer.map(|url| url[Position::BeforePath..Position::AfterQuery].to_owned());
    way_back(app, page)
}
