//! `/login` and `/logout`.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use url::Url;

use super::form::Pairs;
use super::visitor::Address;
use super::{cookie, error, page_or, pages, reply, visitor};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::client_auth;
use crate::flow::sign_in::{self, Attempt};
use crate::host::App;
use crate::secret::{Secret, same};

/// Where a sign-in leads that came from nowhere.
const HOME: &str = "/connections";
/// Longest browser name that is kept.
const MAX_USER_AGENT: usize = 200;

pub(super) async fn get(app: App, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    let outcome = async {
        let shown = Shown {
            to: way_back(query.single("to")?),
            email: query.single("email")?.unwrap_or_default(),
            error: None,
            reauthenticate: query.single("again")?.is_some(),
        };
        form(&app, &headers, shown, StatusCode::OK).await
    };
    page_or(&app, outcome.await)
}

struct Shown {
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
        to: shown.to,
        email: shown.email,
        who: who.map(|r| pages::Agent { name: r.client.name.clone(), known: pages::Known::Operator }),
        error: shown.error,
        reauthenticate: shown.reauthenticate,
    };
    let mut response = reply::page(status, &page.html());
    if kept.is_none() {
        cookie::set(app, &mut response, cookie::SIGN_IN, &csrf);
    }
    Ok(response)
}

pub(super) async fn post(app: App, Address(address): Address, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        visitor::same_site(&app, &headers)?;
        let token = cookie::get(&app, &headers, cookie::SIGN_IN).unwrap_or_default();
        if token.is_empty() || !same(&token, &form.single("csrf")?.unwrap_or_default()) {
            return Err(Refusal::CrossSite.into());
        }
        let to = way_back(form.single("to")?);
        let email = form.single("email")?.unwrap_or_default();
        let password = Secret::new(form.single("password")?.unwrap_or_default());
        let user_agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
        let user_agent = user_agent.map(|v| v.chars().take(MAX_USER_AGENT).collect());
        let current = visitor::user(&app, &headers).await?.map(|(session, _)| session);
        let attempt = Attempt { email: &email, password, address, user_agent, current: current.as_ref() };
        let status = match sign_in::sign_in(&app, attempt).await {
            Ok(token) => {
                let mut response = reply::see_other(&to);
                cookie::set(&app, &mut response, cookie::SESSION, token.expose());
                return Ok(response);
            }
            Err(Error::Refused(refusal @ (Refusal::CredentialsWrong | Refusal::Throttled(_)))) => {
                let (_, status) = error::code_and_status(&refusal);
                (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), refusal.to_string())
            }
            Err(error) => return Err(error),
        };
        let shown = Shown { to, email, error: Some(status.1), reauthenticate: current.is_some() };
        self::form(&app, &headers, shown, status.0).await
    };
    page_or(&app, outcome.await)
}

/// Ends the session of this browser; everything that rests on it ends with it.
pub(super) async fn out(app: App, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let mut response = reply::see_other("/login");
        if let Some((session, _)) = visitor::user(&app, &headers).await? {
            visitor::form_of(&app, &headers, &form, &session)?;
            sign_in::sign_out(&app, &session).await?;
            cookie::set(&app, &mut response, cookie::SESSION, "");
        }
        Ok(response)
    };
    page_or(&app, outcome.await)
}

/// A path of ours to go on to: never another site (RFC 9700 section 4.11.1).
fn way_back(to: Option<String>) -> String {
    let base = Url::parse("http://here.invalid/").expect("a constant URL parses");
    let ours = |to: &String| {
        let path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && !to.contains(char::is_control);
        let known = ["/authorize?", "/consent/", HOME].iter().any(|start| to.starts_with(start));
        path && known && base.join(to).is_ok_and(|url| url.host_str() == Some("here.invalid"))
    };
    to.filter(ours).unwrap_or_else(|| HOME.to_owned())
}

/// The client that waits at the end of the way back.
fn client_of(to: &str) -> Option<String> {
    let query = to.strip_prefix("/authorize?")?;
    Pairs::parse(query.as_bytes()).single("client_id").ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_ours() {
        for good in ["/authorize?client_id=x", "/consent/abc", "/connections", "/connections/1/stop"] {
            assert_eq!(way_back(Some(good.into())), good);
        }
        for bad in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/login?to=/login",
            "/consent/\r\nx",
            "",
            "evil",
            "/unknown",
        ] {
            assert_eq!(way_back(Some(bad.into())), HOME, "{bad:?}");
        }
    }
}
