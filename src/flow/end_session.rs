//! A client asks for its user to be signed out (OpenID Connect RP-Initiated Logout 1.0).

use std::sync::Arc;

use url::form_urlencoded::Serializer;

use crate::domain::client::Client;
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, Session};
use crate::error::Error;
use crate::flow::authorize::appended;
use crate::flow::{client_auth, id_token, sign_in};
use crate::host::App;

/// What a client asks for (section 2). `ui_locales` and `logout_hint` change nothing here: the pages speak one language, and a browser has one
/// session.
#[derive(Debug, Default)]
pub struct Request {
    /// An ID token that the client got here.
    pub id_token_hint: Option<String>,
    /// Who asks.
    pub client_id: Option<ClientId>,
    /// Where to go on.
    pub post_logout_redirect_uri: Option<String>,
    /// Comes back with that.
    pub state: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    /// The browser has no session any more: on to the client, or nowhere.
    Over(Option<String>),
    /// The user is asked, and shown who asks where that is known.
    Ask(Option<Arc<Client>>),
    /// The user stays signed in.
    Stays,
}

/// Ends the session of the browser where the ID token is of that very session, or the user says so; else the user is asked (section 2: an ID
/// token that is missing, or of another session, is no word of theirs). Nothing happens where the request is wrong.
///
/// # Errors
/// What is wrong, for a page: no redirect goes to an address that is not registered (section 3).
pub async fn decide(
    app: &App,
    request: &Request,
    user: Option<(&Session, &Account)>,
    answer: Option<bool>,
) -> Result<Step, Error> {
    // However long ago it expired. One of a key that has left since is worth as much as none.
    let hint = request.id_token_hint.as_deref().and_then(|hint| id_token::verify(app, hint).ok());
    let hint = hint.map(|(claims, _)| claims);
    if let (Some(hint), Some(client_id)) = (&hint, &request.client_id)
        && hint.aud != *client_id
    {
        return Err(Refusal::Malformed("client_id", "is not the client that the ID token is for").into());
    }
    let client = match request.client_id.as_ref().or(hint.as_ref().map(|hint| &hint.aud)) {
        None => None,
        Some(id) => client_auth::find(app, id).await?.map(|registered| registered.client.clone()),
    };
    if request.client_id.is_some() && client.is_none() {
        return Err(Refusal::AuthorizeClientUnknown.into());
    }
    let to = way_on(request, client.as_deref())?;
    let Some((session, account)) = user else { return Ok(Step::Over(to)) };
    let is_of_session = hint.is_some_and(|hint| hint.sid == session.id && hint.sub == account.sub);
    match answer {
        Some(false) => Ok(Step::Stays),
        None if !is_of_session => Ok(Step::Ask(client)),
        _ => {
            sign_in::sign_out(app, session).await?;
            Ok(Step::Over(to))
        }
    }
}

/// Where to go on: an address that is registered to the letter, and nowhere else (section 3).
fn way_on(request: &Request, client: Option<&Client>) -> Result<Option<String>, Refusal> {
    const NAME: &str = "post_logout_redirect_uri";
    let Some(uri) = &request.post_logout_redirect_uri else { return Ok(None) };
    let Some(client) = client else {
        // Whose ID token it was cannot be known any more: the user stays here.
        return if request.id_token_hint.is_some() {
            Ok(None)
        } else {
            Err(Refusal::Malformed(NAME, "needs an id_token_hint or a client_id"))
        };
    };
    if !client.metadata.post_logout_redirect_uris.iter().any(|known| known.as_str() == uri) {
        return Err(Refusal::Malformed(NAME, "is not registered for this client"));
    }
    let Some(state) = &request.state else { return Ok(Some(uri.clone())) };
    Ok(Some(appended(uri, &Serializer::new(String::new()).append_pair("state", state).finish())))
}
