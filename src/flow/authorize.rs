//! The authorization endpoint's decision (OpenID Connect Core section 3.1.2, RFC 6749 section 4.1).

use url::form_urlencoded::Serializer;

use crate::domain::authorize::{CODE_LIFETIME, Request};
use crate::domain::client::Client;
use crate::domain::ids::Subject;
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::scope::{OFFLINE_ACCESS, Scope};
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::id_token;
use crate::host::App;
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, NewFamily};

/// What happens next.
#[derive(Debug)]
pub enum Step {
    /// The user signs in first, or again.
    SignIn,
    /// The user is asked whether the client may sign them in.
    Ask,
    /// The answer for the client.
    Done {
        /// The code.
        code: Secret,
    },
}

/// Decides on a request whose redirect URI is trusted. `answer` is what the user said to [`Step::Ask`].
///
/// # Errors
/// What goes to the redirect URI.
pub async fn decide(
    app: &App,
    client: &Client,
    request: &Request,
    user: Option<(&Session, &Account)>,
    answer: Option<bool>,
) -> Result<Step, Error> {
    let hinted = request.id_token_hint.as_deref().map(|hint| hinted(app, client, hint)).transpose()?;
    let fresh = user.filter(|(session, account)| {
        request.accepts(session, app.now()) && hinted.as_ref().is_none_or(|sub| *sub == account.sub)
    });
    let Some((session, account)) = fresh else {
        return if request.prompt.none { Err(Refusal::LoginRequired.into()) } else { Ok(Step::SignIn) };
    };
    match answer {
        Some(false) => return Err(Refusal::SignInDenied.into()),
        Some(true) => {}
        None => {
            let silent = client.is_alone_at(&request.redirect_uri) && !request.prompt.consent;
            let agreed = client.policy.first_party || (silent && agreed(app, account, client, &request.scope).await?);
            if !agreed {
                return if request.prompt.none { Err(Refusal::SignInConsentRequired.into()) } else { Ok(Step::Ask) };
            }
        }
    }
    issue_code(app, client, request, session, answer == Some(true)).await
}

/// Whom an `id_token_hint` names (OpenID Connect Core section 3.1.2.1): an ID token that this client got here, however long ago.
fn hinted(app: &App, client: &Client, hint: &str) -> Result<Subject, Refusal> {
    let claims =
        id_token::verify(app, hint).ok().map(|(claims, _)| claims).filter(|claims| claims.aud == client.client_id);
    claims
        .map(|claims| claims.sub)
        .ok_or(Refusal::Malformed("id_token_hint", "is not an ID token that this client got here"))
}

async fn agreed(app: &App, account: &Account, client: &Client, scope: &Scope) -> Result<bool, Error> {
    let agreed = app.store.read().await?.signin_scope(&account.id, &client.key).await?;
    Ok(agreed.is_some_and(|agreed| scope.within(&agreed)))
}

async fn issue_code(
    app: &App,
    client: &Client,
    request: &Request,
    session: &Session,
    agreed_now: bool,
) -> Result<Step, Error> {
    let now = app.now();
    let code = app.rng.token();
    let (family, account_id) = (app.id(), &session.account_id);
    let mut tx = app.store.begin().await?;
    // Whoever disables one of them, or ends the sign-in, either waits for this and ends it too, or was first.
    if !tx.lock_account(account_id).await? {
        return if request.prompt.none { Err(Refusal::LoginRequired.into()) } else { Ok(Step::SignIn) };
    }
    if !tx.lock_client(&client.key).await? {
        return Err(Refusal::AuthorizeClientUnknown.into());
    }
    if agreed_now {
        let consent_id = app.id();
        tx.add_signin_consent(&consent_id, account_id, &client.key, &request.scope, now).await?;
        let event = Event::SigninConsentGiven { scope: request.scope.to_string() };
        let entry =
            Entry { account_id: Some(account_id), client: Some(&client.key), ..Entry::new(app.id(), now, event) };
        tx.record(entry).await?;
    } else if !client.policy.first_party
        && !tx.signin_scope(account_id, &client.key).await?.is_some_and(|agreed| request.scope.within(&agreed))
    {
        return if request.prompt.none { Err(Refusal::SignInConsentRequired.into()) } else { Ok(Step::Ask) };
    }
    tx.add_family(&NewFamily {
        id: &family,
        account_id,
        client: &client.key,
        session_id: &session.id,
        scope: &request.scope,
        offline: request.scope.has(OFFLINE_ACCESS),
        code_hash: &token_hash(&code),
        redirect_uri: &request.redirect_uri,
        code_challenge: request.code_challenge.as_deref(),
        nonce: request.nonce.as_deref(),
        now,
        expires_at: now + CODE_LIFETIME,
    })
    .await?;
    // Whoever knows the session by an ID token is told when it ends.
    if request.scope.has("openid") {
        tx.add_session_client(&session.id, &client.key).await?;
    }
    tx.commit().await?;
    Ok(Step::Done { code: Secret::new(code) })
}

/// The redirect that carries an answer: parameters added to whatever query the registered URI has, always with `iss` (RFC 9207).
#[must_use]
pub fn answer(app: &App, redirect_uri: &str, state: Option<&str>, params: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(params);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", app.issuer.url.as_str());
    appended(redirect_uri, &query.finish())
}

/// A registered URI with a query added to whatever it has. To the text, which is the one that was compared: nothing of it is normalised.
pub(super) fn appended(uri: &str, query: &str) -> String {
    let joint = match uri.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{joint}{query}")
}
