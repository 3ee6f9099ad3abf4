//! `/end_session` (OpenID Connect RP-Initiated Logout 1.0).

use axum::extract::RawQuery;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use super::csrf::SignedForm;
use super::form::Pairs;
use super::session::{SignedIn, visitor};
use super::way_back::HOME;
use super::{cookie, pages, parties, reply};
use crate::domain::authorize::MAX_REQUEST;
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::end_session::{Request, Step, decide};
use crate::host::App;

/// Where it is.
const PLACE: &str = "/end_session";

pub(super) async fn get(
    app: App,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let pairs = Pairs::parse(query.unwrap_or_default().as_bytes());
    let request = read(&pairs)?;
    // HEAD has no effects: it is answered as to somebody who is not signed in.
    let visitor = if method == Method::HEAD { None } else { visitor(&app, &headers).await? };
    run(&app, &pairs, &request, visitor, None).await
}

/// The same request as a form. A browser sends no cookie of ours with one of another site's, but does with the address that it is led to.
pub(super) async fn post(app: App, pairs: Pairs) -> Result<Response, Error> {
    read(&pairs)?;
    let query = carried(&pairs);
    if query.len() > MAX_REQUEST {
        return Err(Refusal::Malformed("the request", "is longer than 60 KiB, encoded as part of an address").into());
    }
    Ok(reply::to_page(&app, &format!("{PLACE}?{query}")))
}

/// The user's answer. It brings the request along, which is judged again from the start.
pub(super) async fn decision(app: App, SignedForm { visitor, form, .. }: SignedForm) -> Result<Response, Error> {
    let answer = match form.required("decision")?.as_str() {
        "sign_out" => true,
        "stay" => false,
        _ => return Err(Refusal::Malformed("decision", "must be sign_out or stay").into()),
    };
    let pairs = Pairs::parse(form.single("request")?.unwrap_or_default().as_bytes());
    let request = read(&pairs)?;
    run(&app, &pairs, &request, Some(visitor), Some(answer)).await
}

/// The request again, as part of an address or a form; nothing but what is a part of it.
fn carried(pairs: &Pairs) -> String {
    const KNOWN: [&str; 4] = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];
    pairs.rebuild(|name, value| KNOWN.contains(&name).then(|| value.to_owned()))
}

fn read(pairs: &Pairs) -> Result<Request, Refusal> {
    pairs.once(&[])?;
    let client_id = pairs.single("client_id")?.map(ClientId::try_from).transpose();
    Ok(Request {
        id_token_hint: pairs.single("id_token_hint")?,
        client_id: client_id.map_err(|_| Refusal::AuthorizeClientUnknown)?,
        post_logout_redirect_uri: pairs.single("post_logout_redirect_uri")?,
        state: pairs.single("state")?,
    })
}

async fn run(
    app: &App,
    pairs: &Pairs,
    request: &Request,
    visitor: Option<SignedIn>,
    answer: Option<bool>,
) -> Result<Response, Error> {
    let user = visitor.as_ref().map(|visitor| (&visitor.session, &visitor.account));
    let step = decide(app, request, user, answer).await?;
    let mut response = match (step, &visitor) {
        (Step::Over(Some(to)), _) => reply::see_other(&to),
        (Step::Over(None), _) => reply::page(StatusCode::OK, &pages::SignedOut { site: reply::site(app) }.html()),
        (Step::Stays, _) => return Ok(reply::to_page(app, HOME)),
        (Step::Ask(client), Some(visitor)) => {
            let page = pages::EndSession {
                site: reply::site(app),
                account: visitor.bar(app, HOME),
                agent: client.as_deref().map(parties::agent),
                request: carried(pairs),
            };
            return Ok(reply::page(StatusCode::OK, &page.html()));
        }
        (Step::Ask(_), None) => return Err(Error::invariant("only a signed-in user is asked")),
    };
    if visitor.is_some() {
        cookie::set(app, &mut response, cookie::SESSION, "");
    }
    Ok(response)
}
