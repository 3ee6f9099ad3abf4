//! `/authorize` (OpenID Connect Core section 3.1.2; RFC 9700; RFC 9207).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use url::Url;

use super::form::Pairs;
use super::pages::{self, Known, ScopeLine};
use super::{error, page_or, reply, visitor, words};
use crate::domain::authorize::{self as rules, Request};
use crate::domain::ids::authority;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::authorize::{Step, answer, decide};
use crate::flow::client_auth;
use crate::host::{App, Registered};

pub(super) async fn get(app: App, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    run(&app, &headers, Pairs::parse(query.unwrap_or_default().as_bytes()), None).await
}

/// The same request as a form (OpenID Connect Core section 3.1.2.1).
pub(super) async fn post(app: App, headers: HeaderMap, body: Body) -> Response {
    match Pairs::read(&headers, body).await {
        Ok(pairs) => run(&app, &headers, pairs, None).await,
        Err(refusal) => error::page(&app, refusal.into()),
    }
}

/// The user's answer on the sign-in consent page. It brings the request along, which is judged again from the start.
pub(super) async fn decision(app: App, headers: HeaderMap, body: Body) -> Response {
    let outcome = async {
        let form = Pairs::read(&headers, body).await?;
        let Some((session, _)) = visitor::user(&app, &headers).await? else { return Err(Refusal::CrossSite.into()) };
        visitor::form_of(&app, &headers, &form, &session)?;
        let allowed = match form.required("decision")?.as_str() {
            "allow" => true,
            "deny" => false,
            _ => return Err(Refusal::Malformed("decision", "must be allow or deny").into()),
        };
        Ok((Pairs::parse(form.required("request")?.as_bytes()), allowed))
    };
    match outcome.await {
        Ok((pairs, allowed)) => run(&app, &headers, pairs, Some(allowed)).await,
        Err(error) => error::page(&app, error),
    }
}

async fn run(app: &App, headers: &HeaderMap, pairs: Pairs, said: Option<bool>) -> Response {
    let param = |name: &'static str| pairs.single(name);
    // Until client and redirect URI are known to belong together, every no is a page (RFC 9700 section 4.11.2).
    let trusted = async {
        let client_id = pairs.required("client_id")?;
        let registered = client_auth::find(app, &client_id).await?.ok_or(Refusal::AuthorizeClientUnknown)?;
        let redirect_uri = rules::redirect_uri(&registered.client, &param)?;
        Ok::<_, Error>((registered, redirect_uri))
    };
    let (registered, redirect_uri) = match trusted.await {
        Ok(trusted) => trusted,
        Err(error) => return error::page(app, error),
    };
    let state = param("state").ok().flatten();
    let outcome = async {
        pairs.once(&["resource"])?;
        let request = rules::parse(&registered.client, redirect_uri.clone(), &param)?;
        let user = visitor::user(app, headers).await?;
        let step = decide(app, &registered.client, &request, user.as_ref(), said).await?;
        Ok::<_, Error>((request, user, step))
    };
    match outcome.await {
        Ok((request, _, Step::Done { code })) => {
            reply::see_other(&answer(app, &request.redirect_uri, request.state.as_deref(), &[("code", code.expose())]))
        }
        Ok((request, user, Step::SignIn)) => reply::see_other(&sign_in(&pairs, &request, user.is_some())),
        Ok((request, Some((session, account)), Step::Ask)) => {
            page_or(app, Ok(ask(app, &registered, &pairs, &request, &session, &account)))
        }
        Ok((_, None, Step::Ask)) => error::page(app, Error::invariant("only a signed-in user is asked")),
        Err(error) => error::redirect(app, error, &redirect_uri, state.as_deref()),
    }
}

/// The sign-in page, and from there back to this request. The way back no longer says `login`: the sign-in just happened.
fn sign_in(pairs: &Pairs, request: &Request, again: bool) -> String {
    let query = pairs.rebuild(|name, value| {
        let rest = || {
            value.split(' ').filter(|word| !matches!(*word, "login" | "select_account")).collect::<Vec<_>>().join(" ")
        };
        match name {
            "prompt" => Some(rest()).filter(|rest| !rest.is_empty()),
            "max_age" if request.max_age.is_none() => None,
            _ => Some(value.to_owned()),
        }
    });
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.append_pair("to", &format!("/authorize?{query}"));
    if let Some(hint) = &request.login_hint {
        out.append_pair("email", hint);
    }
    if again {
        out.append_pair("again", "1");
    }
    format!("/login?{}", out.finish())
}

fn ask(
    app: &App,
    registered: &Arc<Registered>,
    pairs: &Pairs,
    request: &Request,
    session: &Session,
    account: &Account,
) -> Response {
    let original = pairs.rebuild(|_, value| Some(value.to_owned()));
    let page = pages::SignInConsent {
        site: reply::site(app),
        account: visitor::account(session, account, &format!("/authorize?{original}")),
        agent: pages::Agent { name: registered.client.name.clone(), known: Known::Operator },
        scopes: request
            .scope
            .iter()
            .map(|token| ScopeLine { token: token.to_owned(), meaning: words::scope(token).to_owned() })
            .collect(),
        signed_in: words::time(session.auth_time),
        returns_to: Url::parse(&request.redirect_uri)
            .map_or_else(|_| request.redirect_uri.clone(), |url| authority(&url)),
        request: original,
    };
    reply::page(StatusCode::OK, &page.html())
}
