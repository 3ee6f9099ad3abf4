//! `/authorize` (OpenID Connect Core section 3.1.2; RFC 9700; RFC 9207).

use std::future::ready;

use axum::extract::RawQuery;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::csrf::SignedForm;
use super::error::{Back, Failed};
use super::form::Pairs;
use super::pages::{self, ScopeLine};
use super::session::{self, SignedIn};
use super::{parties, reply, wording};
use crate::domain::authorize::{self as rules, Request};
use crate::domain::ids::ClientId;
use crate::domain::ids::authority;
use crate::domain::refusal::Refusal;
use crate::domain::scope::OFFLINE_ACCESS;
use crate::error::Error;
use crate::flow::authorize::{Step, answer, decide};
use crate::flow::client_auth;
use crate::host::{App, Registered};

pub(super) async fn get(
    app: App,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let pairs = Pairs::parse(query.unwrap_or_default().as_bytes());
    // HEAD has no effects: it is answered as to somebody who is not signed in, and gets no code.
    let headers = if method == Method::HEAD { HeaderMap::new() } else { headers };
    run(&app, session::visitor(&app, &headers), pairs, Sent::AsAddress).await
}

/// The same request as a form (OpenID Connect Core section 3.1.2.1). A question to the user is shown at an address of its own.
pub(super) async fn post(app: App, headers: HeaderMap, pairs: Pairs) -> Result<Response, Failed> {
    run(&app, session::visitor(&app, &headers), pairs, Sent::AsForm).await
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    AsAddress,
    AsForm,
    /// With the user's answer.
    Answered(bool),
}

/// The user's answer on the sign-in consent page. It brings the request along, which is judged again from the start.
pub(super) async fn decision(app: App, SignedForm { visitor, form, .. }: SignedForm) -> Result<Response, Failed> {
    let allowed = match form.required("decision")?.as_str() {
        "allow" => true,
        "deny" => false,
        _ => return Err(Refusal::Malformed("decision", "must be allow or deny").into()),
    };
    let pairs = Pairs::parse(form.required("request")?.as_bytes());
    run(&app, ready(Ok(Some(visitor))), pairs, Sent::Answered(allowed)).await
}

async fn run(
    app: &App,
    visitor: impl Future<Output = Result<Option<SignedIn>, Error>>,
    pairs: Pairs,
    sent: Sent,
) -> Result<Response, Failed> {
    let allowed = if let Sent::Answered(allowed) = sent { Some(allowed) } else { None };
    let param = |name: &'static str| pairs.single(name);
    // Until client and redirect URI are known to belong together, every no is a page (RFC 9700 section 4.11.2).
    let client_id = ClientId::try_from(pairs.required("client_id")?).map_err(|_| Refusal::AuthorizeClientUnknown)?;
    let registered = client_auth::find(app, &client_id).await?.ok_or(Refusal::AuthorizeClientUnknown)?;
    tracing::Span::current().record("client", registered.client.client_id.as_str());
    let redirect_uri = rules::redirect_uri(&registered.client, &param)?;
    let trusted = async {
        pairs.once(&["resource"])?;
        let query = pairs.rebuild(|_, value| Some(value.to_owned()));
        if byte_serialize(query.as_bytes()).map(str::len).sum::<usize>() > rules::MAX_REQUEST {
            return Err(
                Refusal::Malformed("the request", "is longer than 60 KiB, encoded as part of an address").into()
            );
        }
        let request = rules::parse(&registered.client, redirect_uri.clone(), &param)?;
        let visitor = visitor.await?;
        let user = visitor.as_ref().map(|visitor| (&visitor.session, &visitor.account));
        match (decide(app, &registered.client, &request, user, allowed).await?, visitor) {
            (Step::Done { code }, _) => {
                let params = [("code", code.expose())];
                Ok(reply::see_other(&answer(app, &request.redirect_uri, request.state.as_deref(), &params)))
            }
            (Step::SignIn, visitor) => Ok(reply::see_other(&sign_in(app, &pairs, &request, visitor.is_some()))),
            (Step::Ask, Some(_)) if sent != Sent::AsAddress => Ok(reply::to_page(app, &format!("/authorize?{query}"))),
            (Step::Ask, Some(visitor)) => Ok(ask(app, &registered, &pairs, &request, &visitor)),
            (Step::Ask, None) => Err(Error::invariant("only a signed-in user is asked")),
        }
    };
    trusted.await.map_err(|error| {
        let state = param("state").ok().flatten();
        Failed::back(error, Back { app: app.clone(), redirect_uri: redirect_uri.clone(), state })
    })
}

/// The sign-in page, and from there back to this request. The way back no longer says `login`: the sign-in just happened.
fn sign_in(app: &App, pairs: &Pairs, request: &Request, again: bool) -> String {
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
    out.append_pair("to", &reply::path(app, &format!("/authorize?{query}")));
    if let Some(hint) = &request.login_hint {
        out.append_pair("email", hint);
    }
    if again {
        out.append_pair("again", "1");
    }
    format!("{}?{}", reply::path(app, "/login"), out.finish())
}

fn ask(app: &App, registered: &Registered, pairs: &Pairs, request: &Request, visitor: &SignedIn) -> Response {
    let original = pairs.rebuild(|_, value| Some(value.to_owned()));
    let page = pages::SignInConsent {
        site: reply::site(app),
        account: visitor.bar(app, &format!("/authorize?{original}")),
        agent: parties::agent(&registered.client),
        scopes: request
            .scope
            .iter()
            .map(|token| ScopeLine { token: token.to_owned(), meaning: wording::scope(token).to_owned() })
            .collect(),
        stays: wording::asked_to_stay(request.scope.has(OFFLINE_ACCESS)).to_owned(),
        signed_in: wording::ago(visitor.session.auth_time, app.now()),
        returns_to: Url::parse(&request.redirect_uri)
            .map_or_else(|_| request.redirect_uri.clone(), |url| authority(&url)),
        request: original,
    };
    reply::page(StatusCode::OK, &page.html())
}
