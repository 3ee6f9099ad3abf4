//! Client authentication: from a credential somebody sent to a client one may believe (RFC 6749 section 2.3, RFC 7523 section 3,
//! OpenID Connect Core section 9). First, always: nothing else of a request is answered before it.

use std::sync::Arc;

use crate::domain::client::Client;
use crate::domain::client_assertion::{self, ClientAssertion};
use crate::domain::client_metadata::AuthMethod;
use crate::domain::ids::ClientId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::host::{App, Registered};
use crate::jose::{Jwks, Unverified};
use crate::secret::{Secret, same, token_hash};
use crate::store::UnspentJti;

/// What a request says about its client. Unverified.
#[derive(Debug)]
pub enum Credential {
    /// Only a `client_id`: a public client.
    Public {
        /// As sent.
        client_id: ClientId,
    },
    /// A secret, in the header or in the form.
    Secret {
        /// As sent.
        client_id: ClientId,
        /// As sent.
        secret: Secret,
    },
    /// A JWT of the client's own.
    Assertion {
        /// As sent beside it, if it was.
        client_id: Option<ClientId>,
        /// The JWT.
        assertion: Secret,
    },
}

/// A client whose credential is right. Where that is an assertion, it may have been sent before: whoever does something for this client
/// spends its `jti` first, by [`ProvenClient::spend`] or in the transaction that does it.
#[derive(Debug)]
pub struct ProvenClient {
    registered: Arc<Registered>,
    unspent: Option<UnspentJti>,
}

impl ProvenClient {
    /// Spends the `jti` of its assertion.
    ///
    /// # Errors
    /// [`Refusal::ClientAssertion`] when it was spent before.
    pub async fn spend(self, app: &App) -> Result<AuthenticatedClient, Error> {
        if let Some(unspent) = self.unspent
            && !app.store.spend(unspent).await?
        {
            return Err(Refusal::ASSERTION_REPLAYED.into());
        }
        Ok(AuthenticatedClient(self.registered))
    }

    /// For a transaction that spends the `jti`.
    pub(super) fn into_parts(self) -> (Arc<Registered>, Option<UnspentJti>) {
        (self.registered, self.unspent)
    }
}

impl std::ops::Deref for ProvenClient {
    type Target = Client;

    fn deref(&self) -> &Self::Target {
        &self.registered.client
    }
}

/// A client that proved who it is, with an assertion that nobody can send again. Only [`ProvenClient::spend`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient(Arc<Registered>);

impl std::ops::Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Self::Target {
        &self.0.client
    }
}

/// Finds out who asks.
///
/// # Errors
/// [`Refusal::ClientAuthenticationFailed`] for whoever is unknown, disabled, wrong or uses another kind of method than the registered one;
/// [`Refusal::ClientAssertion`] for an assertion that its maker should mend.
pub async fn authenticate(app: &App, credential: Credential) -> Result<ProvenClient, Error> {
    let (registered, right, wrong) = match credential {
        Credential::Public { client_id } => {
            let registered = known(app, &client_id).await?;
            let right = registered.client.metadata.token_endpoint_auth_method == AuthMethod::None;
            (registered, right, Refusal::ClientUnauthenticated)
        }
        // Basic or post, whichever it registered: RFC 6749 section 2.3.1 demands that basic works, and many libraries know only one.
        Credential::Secret { client_id, secret } => {
            let given = token_hash(secret.expose());
            let registered = known(app, &client_id).await?;
            let client = &registered.client;
            let right = client.metadata.token_endpoint_auth_method.is_shared_secret()
                && client.secret_hash.as_deref().is_some_and(|hash| same(hash, &given));
            (registered, right, Refusal::ClientAuthenticationFailed)
        }
        Credential::Assertion { client_id, assertion } => {
            return by_assertion(app, client_id, assertion.expose()).await;
        }
    };
    if right { Ok(ProvenClient { registered, unspent: None }) } else { Err(wrong.into()) }
}

async fn known(app: &App, client_id: &ClientId) -> Result<Arc<Registered>, Error> {
    find(app, client_id).await?.ok_or(Error::Refused(Refusal::ClientAuthenticationFailed))
}

/// The enabled client with a `client_id`, with its keys parsed.
///
/// # Errors
/// Faults.
pub async fn find(app: &App, client_id: &ClientId) -> Result<Option<Arc<Registered>>, Error> {
    match app.clients.get(&(app.issuer.id.clone(), client_id.clone()), app.database.client_changes(), app.now()) {
        Some(registered) => Ok(Some(registered)),
        None => read(app, client_id).await,
    }
}

async fn read(app: &App, client_id: &ClientId) -> Result<Option<Arc<Registered>>, Error> {
    let (changes, now) = (app.database.client_changes(), app.now());
    let Some(client) = app.store.read().await?.client(client_id).await? else { return Ok(None) };
    let jwks = client.metadata.jwks.as_ref().map(|jwks| Jwks::parse(jwks.as_json())).unwrap_or_default();
    let registered = Arc::new(Registered { client: Arc::new(client), jwks });
    app.clients.put((app.issuer.id.clone(), client_id.clone()), registered.clone(), changes, now);
    Ok(Some(registered))
}

/// A client as it is now, after something of it turned out to have changed. A proof judged by what it was holds only if what proves who
/// it is has not changed.
///
/// # Errors
/// [`Refusal::ClientAuthenticationFailed`].
pub(super) async fn again(app: &App, client: &Client) -> Result<Arc<Client>, Error> {
    let current = read(app, &client.client_id).await?.map(|registered| registered.client.clone());
    current.filter(|current| current.same_credentials(client)).ok_or(Refusal::ClientAuthenticationFailed.into())
}

async fn by_assertion(app: &App, client_id: Option<ClientId>, assertion: &str) -> Result<ProvenClient, Error> {
    let wrong = |why| Error::Refused(Refusal::ClientAssertion(why));
    let unverified = Unverified::received(assertion).map_err(|e| wrong(e.0))?;
    let named = unverified.issuer().ok_or(wrong("it names no client (iss)"))?;
    let named = ClientId::try_from(named).map_err(|_| Refusal::ClientAuthenticationFailed)?;
    if client_id.is_some_and(|id| id != named) {
        return Err(wrong("client_id is not its iss"));
    }
    let registered = known(app, &named).await?;
    if registered.client.metadata.token_endpoint_auth_method != AuthMethod::PrivateKeyJwt {
        return Err(Refusal::ClientAuthenticationFailed.into());
    }
    let key = registered.jwks.find(unverified.kid(), unverified.alg());
    let key = key.ok_or(wrong("none of the client's registered keys has its kid and alg"))?;
    let typ = unverified.typ().filter(|typ| typ.strip_prefix("application/").unwrap_or(typ) == client_assertion::TYP);
    let claims: ClientAssertion = unverified.verify(key, typ.map(|_| client_assertion::TYP)).map_err(|e| wrong(e.0))?;
    let (issuer, token_endpoint) = (app.issuer.url.as_str(), app.issuer.url.at("/token"));
    let (jti, keep_until) = claims.judge(&named, &[issuer, &token_endpoint], app.now()).map_err(wrong)?;
    let unspent = UnspentJti::new(registered.client.key.clone(), jti, keep_until);
    Ok(ProvenClient { registered, unspent: Some(unspent) })
}
