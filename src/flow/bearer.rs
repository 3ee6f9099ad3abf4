//! Who calls the API: an operator with the issuer's admin token or the root's, or a user through a first-party client (RFC 6750).

use crate::domain::ids::AccountId;
use crate::domain::refusal::Refusal;
use crate::domain::scope::DELEGATIONS;
use crate::error::Error;
use crate::flow::issuers;
use crate::host::{App, DEFAULT_ISSUER};
use crate::secret::{same, token_hash};

/// Whom a bearer token speaks for.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The operator of the whole server: every row of every issuer, and the issuers themselves.
    Root,
    /// The issuer's operator: every row of the issuer.
    Admin,
    /// A user: their own rows.
    User(AccountId),
}

impl Caller {
    /// The user whose rows alone may be seen.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        match self {
            Self::Root | Self::Admin => None,
            Self::User(id) => Some(id),
        }
    }

    /// For the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Root | Self::Admin => "admin",
            Self::User(_) => "user",
        }
    }
}

/// Finds out who calls.
///
/// # Errors
/// [`Refusal::BearerInvalid`], [`Refusal::BearerScope`].
pub async fn caller(app: &App, token: &str) -> Result<Caller, Error> {
    let hash = token_hash(token);
    if same(&hash, &app.issuer.admin_token_hash) {
        return Ok(if *app.issuer.id == *DEFAULT_ISSUER { Caller::Root } else { Caller::Admin });
    }
    let root = issuers::app(&app.host, DEFAULT_ISSUER).await?;
    if root.is_some_and(|root| same(&hash, &root.issuer.admin_token_hash)) {
        return Ok(Caller::Root);
    }
    let subject =
        app.store.read().await?.subject_by_access_token(&hash, app.now()).await?.ok_or(Refusal::BearerInvalid)?;
    // The scope is only ever granted to first-party clients; a client that is no longer one loses it at once.
    let client = app.store.read().await?.client_by_key(&subject.client_key).await?;
    if !subject.scope.has(DELEGATIONS) || !client.is_some_and(|c| c.policy.first_party) {
        return Err(Refusal::BearerScope(DELEGATIONS).into());
    }
    Ok(Caller::User(subject.account.id))
}
